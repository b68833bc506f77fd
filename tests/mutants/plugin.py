"""A plugin of pytest's that breaks the product before any test is loaded.

    RAFTKV_MUTANT="backlog of 1" python -m pytest -p tests.mutants.plugin tests/rpc/test_hostile.py

Servers that tests/cluster starts are broken, too: launch.py runs them.
"""

from __future__ import annotations

import sys

from tests.cluster import node
from tests.mutants.mutant import break_this_process

break_this_process()
node.PROGRAM[:] = [sys.executable, "-m", "tests.mutants.launch"]
