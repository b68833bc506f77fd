"""Standard streams that are there: a service manager or a shell may start a program with them closed."""

from __future__ import annotations

import codecs
import io
import os
import sys

_STREAMS = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))
_AS_BYTES = "raftkv.bytes"  # an error handler: surrogates become the bytes they stand for, all else an escape


def open_standard_streams() -> set[str]:
    """Open os.devnull in place of each of descriptors 0 to 2 that is closed. Returns which, by name.
    What is not written to a terminal is UTF-8, and what is no UTF-8 in the database goes out as the same bytes.

    For the beginning of a program, before it opens anything else: a file that got one of these numbers would
    be taken for a standard stream, by its children at the latest.
    """
    closed = set()
    for number, (name, mode) in enumerate(_STREAMS):
        try:
            os.fstat(number)
        except OSError:
            closed.add(name)
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
            os.set_inheritable(number, True)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, closefd=False))
    if isinstance(sys.stdout, io.TextIOWrapper):
        if not sys.stdout.isatty():
            # Another program reads it: values as they are, whatever the locale can show.
            sys.stdout.reconfigure(encoding="utf-8")
        sys.stdout.reconfigure(errors=_AS_BYTES)  # what an encoding lacks must not end the program
    return closed


def _bytes_or_escapes(error: UnicodeError) -> tuple[str | bytes, int]:
    try:
        return codecs.lookup_error("surrogateescape")(error)
    except UnicodeEncodeError:
        return codecs.lookup_error("backslashreplace")(error)


codecs.register_error(_AS_BYTES, _bytes_or_escapes)
