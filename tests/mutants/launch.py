"""A server that is broken: kvserver, with the mutant in force that the environment names.

python -m tests.mutants.launch SERVER.ini --exit-with-parent
"""

from __future__ import annotations

import sys

from raftkv.cli import server

from tests.mutants.mutant import break_this_process

if __name__ == "__main__":
    break_this_process()
    sys.exit(server.main())
