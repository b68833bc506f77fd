"""LineEditor: prints text above the line that a user is editing, which stays as it is, with its cursor.

Python's readline module cannot do that: it does not tell where the cursor is, nor redraw a line that takes
several rows. The library behind it can, and is called here by ctypes. None of it may run while readline
handles a key, so it runs on the thread that reads the line, at the one place where readline waits for the
next key: after each interruption of that wait it calls PyOS_InputHook, if there is one. So another thread
sets that hook and interrupts the wait by a signal. (A hook that is always there would swallow Ctrl-C, since
it runs before readline looks at what the signal was.)
"""

from __future__ import annotations

import ctypes
import os
import signal
import threading
import time
from types import FrameType
from typing import Callable

try:
    import readline
except ImportError:
    readline = None  # type: ignore[assignment]

_CTRL_C_AGAIN_S = 0.02


class LineEditor:
    """GNU readline, as far as Python's module leaves it out. Made on the main thread, which reads the lines.

    Raises OSError where there is none: on Windows, with libedit, or with one that is too old.
    """

    def __init__(self) -> None:
        path = getattr(readline, "__file__", None)
        if os.name != "posix" or readline is None or "libedit" in (readline.__doc__ or ""):
            raise OSError("there is no GNU readline")
        try:
            library = ctypes.PyDLL(path)
            self._clear = library.rl_clear_visible_line
            self._begin_again = library.rl_on_new_line
            self._draw = library.rl_redisplay
            self._flush = library.fflush
            self._hook = ctypes.c_void_p.in_dll(ctypes.pythonapi, "PyOS_InputHook")
        except (AttributeError, ValueError) as error:
            raise OSError(f"this readline cannot print above its line: {error}") from None
        self._callback = ctypes.CFUNCTYPE(ctypes.c_int)(self._on_interruption)
        self._wanted: Callable[[], None] | None = None
        if signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL:
            signal.signal(signal.SIGUSR1, lambda _number, _frame: None)
        self._ctrl_c = False  # one came in the callback, and waits to be seen
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._on_ctrl_c)

    def call_soon(self, function: Callable[[], None]) -> None:
        """Have `function` called by the main thread, if it waits for a key now. From any thread; it may not
        come to it: ask again then."""
        self._wanted = function
        self._hook.value = ctypes.cast(self._callback, ctypes.c_void_p).value
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    def _on_interruption(self) -> int:
        self._hook.value = None
        function, self._wanted = self._wanted, None
        if function is not None:
            function()
        return 0

    def _on_ctrl_c(self, number: int, frame: FrameType | None) -> None:
        """An exception in a callback of C is lost: one that comes then is sent again when readline waits."""
        while frame is not None and frame.f_code is not LineEditor._on_interruption.__code__:
            frame = frame.f_back
        if frame is None:
            self._ctrl_c = False
            raise KeyboardInterrupt
        if not self._ctrl_c:
            self._ctrl_c = True
            threading.Thread(target=self._send_again, name="ctrl-c", daemon=True).start()

    def _send_again(self) -> None:
        time.sleep(_CTRL_C_AGAIN_S)
        while self._ctrl_c:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            time.sleep(_CTRL_C_AGAIN_S)

    def print_above(self, write: Callable[[], None]) -> None:
        """Call write(), which prints whole lines, above the line that is being edited. Within call_soon()."""
        self._clear()
        self._flush(None)
        write()
        self._begin_again()
        self._draw()
