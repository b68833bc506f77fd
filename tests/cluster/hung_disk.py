"""A server whose disk hangs when it is told to: no fsync returns as long as there is a file SERVER.ini.hang.

python -m tests.cluster.hung_disk SERVER.ini --exit-with-parent
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Callable

from raftkv.cli import server

from tests.cluster.node import Node

PROGRAM = (sys.executable, "-m", "tests.cluster.hung_disk")
LOOK_EVERY_S = 0.01


def hang(node: Node) -> None:
    """From now on its disk finishes nothing."""
    _flag(node.ini).touch()


def go_on(node: Node) -> None:
    _flag(node.ini).unlink(missing_ok=True)


def _flag(ini: Path) -> Path:
    return ini.with_name(ini.name + ".hang")


def hanging(sync: Callable[[int], None], flag: Path) -> Callable[[int], None]:
    """`sync`, which waits as long as there is a file `flag`."""

    def sync_later(descriptor: int) -> None:
        while flag.exists():
            time.sleep(LOOK_EVERY_S)
        sync(descriptor)

    return sync_later


if __name__ == "__main__":
    for name in ("fsync", "fdatasync"):
        if hasattr(os, name):
            setattr(os, name, hanging(getattr(os, name), _flag(Path(sys.argv[1]))))
    sys.exit(server.main())
