#!/usr/bin/env python3
"""See: kvgateway.py --help"""

import os
import sys

# Modules come from this program and from Python, and not from a folder that is looked into before (PYTHONPATH).
ROOT = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
sys.path[: sys.path.index(os.path.dirname(os.__file__))] = [ROOT]

try:
    from raftkv.cli.gateway import main

    status = main()
except KeyboardInterrupt:  # before main() has taken over
    status = 130
sys.exit(status)
