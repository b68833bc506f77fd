"""How much, and how long, a client of the front may take. Sizes are in bytes, durations in seconds."""

from __future__ import annotations

MAX_TARGET = 8 << 10  # of the first line of a request
MAX_HEAD = 32 << 10  # of all lines before the body
MAX_FIELDS = 100  # in number
MAX_CHUNK_LINE = 256
MAX_BODY = 4 << 20  # what may be put, in base64, with some room
MAX_IGNORED_BODY = 64 << 10  # of a request that is refused: more is not read, and the connection is closed
MAX_BODIES = 64 << 20  # of all connections together, while they are being received
MAX_UNSENT = 256 << 20  # of all connections together
MAX_UNSENT_STREAM = 1 << 20  # a stream whose client reads too slowly waits then

HEAD_S = 10.0  # from the first byte of a request to the end of its head
BODY_S = 30.0  # and from there to the end of the body; more for what is large:
BODY_BYTES_PER_S = 100 << 10
IDLE_S = 120.0  # between requests
STALLED_S = 30.0  # while the client takes nothing of what it is sent
LINGER_S = 2.0  # for a client to read why it was refused, before the connection is closed
SWEEP_S = 0.5  # how often deadlines are looked at

MAX_CONNECTIONS = 10_000
RECV = 64 << 10
