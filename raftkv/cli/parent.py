"""How a program of ours is told what to do: by signals, and by the program that started it."""

from __future__ import annotations

import os
import signal
import threading
from typing import Callable

from raftkv.cli.interpreter import dying_with_parent

CUT, HEAL = "cut", "heal"  # lines that a server is told by its launcher
_LONGEST = 100  # bytes of a line


def stop_signals() -> list[signal.Signals]:
    """Those that ask a program to stop."""
    stop = [signal.SIGTERM, signal.SIGINT]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # not under nohup
        stop.append(signal.SIGHUP)
    return stop


def watch_parent(stop: Callable[[str], object], tell: Callable[[str], object] = lambda line: None) -> None:
    """Have `stop`, which is given a reason, called when standard input ends: who started us holds its other end, which closes
    however that ends. `tell` gets each line that comes before."""
    if hasattr(os, "setpgrp"):
        os.setpgrp()  # Ctrl-C on the terminal is for who started us
    dying_with_parent()()

    def watch() -> None:
        rest = b""
        while data := os.read(0, 4096):
            *lines, rest = (rest + data).split(b"\n")
            rest = rest[:_LONGEST]
            for line in lines:
                tell(line.decode("ascii", "replace"))
        stop("the launcher is gone")

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()
