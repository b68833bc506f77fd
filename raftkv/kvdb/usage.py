"""What this process takes of the machine, as far as the system tells."""

from __future__ import annotations

import os
import time
from typing import Any

_STATM, _DESCRIPTORS = "/proc/self/statm", "/proc/self/fd"  # Linux


def usage() -> dict[str, Any]:
    """`cpu_s`: processor time, in seconds; `resident_bytes` and `open_files`: None where the system does not tell."""
    times = os.times()
    return {
        "cpu_s": times.user + times.system,
        "resident_bytes": _resident_bytes(),
        "open_files": _open_files(),
    }


def file_age_s(path: str | None) -> float | None:
    """How many seconds ago the file was written; None if there is none."""
    try:
        return None if path is None else max(0.0, time.time() - os.stat(path).st_mtime)
    except OSError:
        return None  # it has been replaced just now


def _resident_bytes() -> int | None:
    try:
        with open(_STATM, encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return None


def _open_files() -> int | None:
    try:
        return len(os.listdir(_DESCRIPTORS)) - 1  # but for the one that lists them
    except OSError:
        return None
