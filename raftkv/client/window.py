"""Window: the commands of submit() that have no answer yet, which are bounded in number."""

from __future__ import annotations

import queue
import time
from collections import deque

from raftkv import errors
from raftkv.client.command import Command

#: So many may be under way. submit() blocks then, until a quarter of them have an answer: to be woken for each
#: would cost more than the command.
WINDOW = 1000
_ROOM_AGAIN = WINDOW * 3 // 4

Signal = queue.SimpleQueue  # of one caller: anything put there wakes it


class Window:
    """Thread-safe without a lock: each step is one step of C code."""

    def __init__(self) -> None:
        self._commands: dict[Command, None] = {}
        self._waiting: deque[Signal[None]] = deque()
        self._closed = False

    def enter(self, command: Command, may_wait: bool) -> None:
        """Waits for room, until the command's deadline. Raises NotApplied if there is none."""
        if len(self._commands) >= WINDOW:
            self._wait(command.deadline if may_wait else 0.0)
        self._commands[command] = None

    def leave(self, command: Command) -> None:
        """It has its outcome, or never began."""
        self._commands.pop(command, None)
        if self._waiting and len(self._commands) <= _ROOM_AGAIN:
            self._wake_all()

    def close(self) -> None:
        """Nobody needs to wait any more."""
        self._closed = True
        self._wake_all()

    def _wait(self, deadline: float) -> None:
        while len(self._commands) >= WINDOW and not self._closed:
            signal: Signal[None] = queue.SimpleQueue()
            self._waiting.append(signal)
            if len(self._commands) < WINDOW or self._closed:
                return
            try:
                signal.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise errors.NotApplied(
                    f"the command was not begun: {WINDOW} are waiting for an answer already"
                ) from None

    def _wake_all(self) -> None:
        while self._waiting:
            try:
                self._waiting.popleft().put(None)
            except IndexError:
                return  # another thread was faster
