"""A process of our own: it starts wherever the program that starts it could start, and ends with it."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from typing import Callable

import raftkv

_IMPORT_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(raftkv.__file__)))
_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
_CODE = """
import signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who started us, until main() says otherwise
sys.path.insert(0, sys.argv.pop(1))
from {} import main
sys.exit(main())
"""


def python_command(module: str, *args: str) -> list[str]:
    """The command that runs main() of `module` with this interpreter.

    Isolated (-I): neither the current folder, nor the environment of Python, nor the user's own packages
    decide what is imported. What this process was told of the interpreter itself is passed on.
    """
    flags = ["-I"]
    if sys.dont_write_bytecode:
        flags.append("-B")
    if sys.flags.no_site:
        flags.append("-S")
    if sys.flags.optimize:
        flags.append("-" + "O" * sys.flags.optimize)
    return [sys.executable, *flags, "-c", _CODE.format(module), _IMPORT_ROOT, *args]


def dying_with_parent() -> Callable[[], object]:
    """What has Linux kill the process that calls it when the thread that started that ends, even if it is paused. It can be
    called between fork and exec: it imports nothing.

    Elsewhere a paused process that is a group of its own is mostly sent SIGHUP and SIGCONT then.
    """
    if sys.platform == "linux":
        with contextlib.suppress(ImportError, OSError, AttributeError):  # not every Python has ctypes
            import ctypes

            prctl = ctypes.CDLL(None).prctl
            return lambda: prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    return lambda: None
