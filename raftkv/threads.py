"""Starting threads, which a system may refuse for a while."""

from __future__ import annotations

import threading
from typing import Callable

from raftkv.errors import ResourceError


def start_thread(
    body: Callable[[], None], name: str, on_fatal: Callable[[BaseException], None] | None = None
) -> threading.Thread:
    """A daemon thread that runs `body`, and if that raises, on_fatal(error). Raises ResourceError if the system
    allows no more threads."""

    def run() -> None:
        try:
            body()
        except BaseException as error:
            if on_fatal is None:
                raise
            on_fatal(error)

    thread = threading.Thread(target=run, name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError:
        raise ResourceError(
            f"this system allows no more threads (for {name!r}): end other processes of this user, or raise "
            "its limit (ulimit -u, or the service manager's TasksMax)"
        ) from None
    return thread
