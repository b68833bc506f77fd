"""The server's half of the handshake of multiprocessing.connection, without I/O.

    server                                  client
    #CHALLENGE#{sha256}random bytes   ->
                                      <-    the HMAC of what follows #CHALLENGE#
    #WELCOME# (or #FAILURE#)          ->
                                      <-    #CHALLENGE# and random bytes of its own
    the HMAC of those                 ->
                                      <-    #WELCOME#

Each in a frame. Clients of Python 3.12 and newer answer with `{digest}` and the HMAC by that digest; older
ones take the prefix for a part of the challenge, and answer with HMAC-MD5 and no prefix. What an older one
asks is 20 bytes long, and is answered so. The standard library's own functions for this wait for each byte,
so that a server would need a thread for each stranger.
"""

from __future__ import annotations

import hmac
import os
import struct

from raftkv.errors import AuthenticationError, ProtocolError
from raftkv.rpc.wire import frame

_CHALLENGE, _WELCOME, _FAILURE = b"#CHALLENGE#", b"#WELCOME#", b"#FAILURE#"
_DIGESTS = ("md5", "sha256", "sha384", "sha3_256", "sha3_384")
_SIZE = struct.Struct("!i")
_MAX_BYTES = 256  # of a client's frame, as in the standard library
_LEGACY_CHALLENGE_BYTES, _LEGACY_ANSWER_BYTES = 20, 16

REFUSAL = frame(_FAILURE)  # to send when receive() raises AuthenticationError


class Challenge:
    """One stranger's handshake. Send `opening` first. Then read at most `wanted` bytes at a time, give them
    to receive(), and send what it returns, until `wanted` is 0: what comes after that is not the
    handshake's."""

    def __init__(self, authkey: bytes) -> None:
        self._authkey = authkey
        self._challenge = b"{sha256}" + os.urandom(40)
        self.opening = frame(_CHALLENGE + self._challenge)
        self.has_proved = False  # the client, that it holds the key
        self.wanted = _SIZE.size
        self._in_header = True
        self._data = b""  # of the header or the payload that is coming in
        self._done = 0  # steps

    def receive(self, data: bytes) -> bytes:
        """Take in some bytes. Returns what to send now, mostly nothing.

        Raises AuthenticationError, or ProtocolError for what is no handshake.
        """
        self._data += data
        self.wanted -= len(data)
        if self.wanted:
            return b""
        whole, self._data = self._data, b""
        if self._in_header:
            (size,) = _SIZE.unpack(whole)
            if not 0 < size <= _MAX_BYTES:
                raise _nonsense()
            self._in_header, self.wanted = False, size
            return b""
        steps = (self._check_proof, self._answer_challenge, self._take_welcome)
        answer = steps[self._done](whole)
        self._done += 1
        self._in_header, self.wanted = True, _SIZE.size if self._done < len(steps) else 0
        return frame(answer) if answer else b""

    def _check_proof(self, proof: bytes) -> bytes:
        digest, mac = "md5", proof
        if len(proof) != _LEGACY_ANSWER_BYTES:
            digest, mac = _split(proof)
        if not hmac.compare_digest(self._hmac(self._challenge, digest), mac):
            raise _wrong_key()
        self.has_proved = True
        return _WELCOME

    def _answer_challenge(self, message: bytes) -> bytes:
        if not message.startswith(_CHALLENGE):
            raise _nonsense()
        challenge = message[len(_CHALLENGE) :]
        if len(challenge) == _LEGACY_CHALLENGE_BYTES:
            return self._hmac(challenge, "md5")
        digest, _ = _split(challenge)
        return b"{%b}%b" % (digest.encode(), self._hmac(challenge, digest))

    def _take_welcome(self, message: bytes) -> bytes:
        if message != _WELCOME:
            raise _wrong_key()
        return b""

    def _hmac(self, message: bytes, digest: str) -> bytes:
        try:
            return hmac.new(self._authkey, message, digest).digest()
        except ValueError:  # this Python has no MD5, as under FIPS
            raise AuthenticationError(f"it asks for {digest}, which this system does not allow") from None


def _split(message: bytes) -> tuple[str, bytes]:
    """`{digest}rest` as (digest, rest)."""
    name, brace, rest = message.partition(b"}")
    digest = name[1:].decode("latin-1")
    if not brace or not name.startswith(b"{") or digest not in _DIGESTS:
        raise _wrong_key()
    return digest, rest


def _wrong_key() -> AuthenticationError:
    return AuthenticationError("it does not hold the same key")


def _nonsense() -> ProtocolError:
    return ProtocolError("it does not speak this protocol")
