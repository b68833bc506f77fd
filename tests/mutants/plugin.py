"""A pytest, and servers, of the product as the mutant breaks it that the environment names.

    RAFTKV_MUTANT="backlog of 1" python -m pytest -p tests.mutants.plugin tests/rpc/test_hostile.py

Servers that tests/cluster starts are `python -m tests.mutants.plugin SERVER.ini --exit-with-parent` then.
"""

from __future__ import annotations

import sys

from raftkv.cli import server

from tests.cluster.node import Node
from tests.mutants.mutant import break_this_process

break_this_process()
Node.program = [sys.executable, "-m", "tests.mutants.plugin"]
if __name__ == "__main__":
    sys.exit(server.main())
