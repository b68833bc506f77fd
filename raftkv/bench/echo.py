"""The simplest server there is: it sends every frame back, with a file name after an fsync of all that a turn
brought. floor.py starts it as `python -m raftkv.bench.echo [FILE]`; it prints its port, and ends when its
standard input does."""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import struct
import sys

CHUNK = 1 << 18
_LENGTH = struct.Struct("!i")  # before the bytes of a frame, as multiprocessing.connection has it


def frame(payload: bytes) -> bytes:
    """The payload as it goes over the wire."""
    return _LENGTH.pack(len(payload)) + payload


def whole_frames(data: bytes) -> tuple[int, int]:
    """(how many whole frames `data` begins with, how many bytes they are)."""
    count = at = 0
    while len(data) - at >= _LENGTH.size:
        end = at + _LENGTH.size + _LENGTH.unpack_from(data, at)[0]
        if end > len(data):
            break
        count, at = count + 1, end
    return count, at


def main() -> None:
    """Serve."""
    file = open(sys.argv[1], "wb", buffering=0) if len(sys.argv) > 1 else None
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    print(listener.getsockname()[1], flush=True)
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    selector.register(sys.stdin, selectors.EVENT_READ)
    rest: dict[socket.socket, bytes] = {}
    while True:
        answers = []
        for key, _ in selector.select():
            if key.fileobj is sys.stdin:
                return
            if key.fileobj is listener:
                sock, _address = listener.accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                selector.register(sock, selectors.EVENT_READ)
                rest[sock] = b""
                continue
            sock = key.fileobj  # type: ignore[assignment]
            try:
                data = sock.recv(CHUNK)
            except ConnectionResetError:  # it went away before it read all answers
                data = b""
            if not data:
                selector.unregister(sock)
                sock.close()
                continue
            data = rest[sock] + data
            _, size = whole_frames(data)
            rest[sock] = data[size:]
            answers.append((sock, data[:size]))
        if file is not None and answers:
            file.write(b"".join(data for _, data in answers))
            os.fsync(file.fileno())
        for sock, data in answers:
            with contextlib.suppress(ConnectionError):
                sock.sendall(data)


if __name__ == "__main__":
    main()
