"""A process of our own, which starts wherever the program that starts it could start."""

from __future__ import annotations

import os
import sys

import raftkv

_IMPORT_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(raftkv.__file__)))
_CODE = "import sys; sys.path.insert(0, sys.argv.pop(1)); from {} import main; sys.exit(main())"


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
