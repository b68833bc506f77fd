"""A process of our own: it starts wherever the program that starts it could start, and ends with it."""

from __future__ import annotations

import contextlib
import os
import signal
import sys

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


def die_with_parent() -> None:
    """Have Linux kill this process when the thread that started it ends, even if it is paused.

    Elsewhere a paused process that is a group of its own is mostly sent SIGHUP and SIGCONT then.
    """
    if sys.platform == "linux":
        with contextlib.suppress(ImportError, OSError, AttributeError):  # not every Python has ctypes
            import ctypes

            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
