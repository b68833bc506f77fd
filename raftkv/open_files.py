"""The system's limit of a process's open files, of which each connection is one."""

from __future__ import annotations

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]


def raise_limit(wanted: int) -> int:
    """Raise this process's limit, which is often 1024, to `wanted` as far as the system permits. Returns what is allowed now, at
    most `wanted`."""
    if resource is None:
        return wanted
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    except (OSError, ValueError):  # macOS has another limit, of which it does not tell
        return soft
    return allowed
