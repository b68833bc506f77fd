#!/usr/bin/env python3
"""See: kvclient.py --help"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from raftkv.cli.client import main

sys.exit(main())
