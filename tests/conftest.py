"""For every test: the paper's invariants are checked at each release of a node's mutex, in this process and
in every server that it starts (they inherit the environment)."""

from __future__ import annotations

import os

os.environ["RAFTKV_CHECK"] = "1"
