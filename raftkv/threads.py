"""Starting threads, which a system may refuse for a while."""

from __future__ import annotations

import threading
from typing import Callable

from raftkv.errors import ResourceError


def start_thread(body: Callable[[], None], name: str) -> threading.Thread:
    """A daemon thread that runs `body`. Raises ResourceError if the system allows no more threads."""
    thread = threading.Thread(target=body, name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError:
        raise ResourceError(
            f"this system allows no more threads (for {name!r}): end other processes of this user, or raise "
            "its limit (ulimit -u, or the service manager's TasksMax)"
        ) from None
    return thread
