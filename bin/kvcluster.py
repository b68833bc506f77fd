#!/usr/bin/env python3
"""See: kvcluster.py --help"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from raftkv.cli.cluster import main

sys.exit(main())
