"""How many connections the system allows: each is an open file."""

from __future__ import annotations

from raftkv.open_files import raise_limit

_OWN = 50  # connections to the servers, files of modules, what the waker and the selector have
_FEWEST = 10


def allowed_connections(wanted: int) -> int:
    """Raise this process's limit of open files as far as `wanted` connections need and the system permits. Returns how
    many there may be, at most `wanted`: then the process has files left for its own."""
    return max(_FEWEST, raise_limit(wanted + _OWN) - _OWN)
