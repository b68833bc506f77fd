"""How many connections the system allows: each is an open file."""

from __future__ import annotations

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

_OWN = 50  # connections to the servers, files of modules, what the waker and the selector have
_FEWEST = 10


def allowed_connections(wanted: int) -> int:
    """Raise this process's limit of open files, which is often 1024, as far as `wanted` connections need and the system
    permits. Returns how many there may be, at most `wanted`: then the process has files left for its own."""
    if resource is None:
        return wanted
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted + _OWN:
        return wanted
    allowed = wanted + _OWN if hard == resource.RLIM_INFINITY else min(wanted + _OWN, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    except (OSError, ValueError):  # macOS has another limit, of which it does not tell
        allowed = soft
    return max(_FEWEST, allowed - _OWN)
