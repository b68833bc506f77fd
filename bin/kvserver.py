#!/usr/bin/env python3
"""See: kvserver.py --help"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from raftkv.cli.server import main

sys.exit(main())
