"""Password: who knows it may use a front. With it /v3/auth/authenticate hands out tokens, which every front of the cluster takes.

A token says until when it counts, and is signed with what all fronts have: the clients' key and the password. So a new
password ends all tokens.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import logging
import os
import secrets
import time
from typing import Callable

from raftkv.errors import ConfigError
from raftkv.keys import read_secret

log = logging.getLogger("raftkv.http")

USER = "root"
TOKEN_S = 3600.0
WRONG_S = 0.5  # who says a wrong password, or token, waits so long for the answer: so guessing takes its time
MIN_LENGTH = 8
_MAX_FILE = 4096


def load_password(path: str) -> str:
    """The first line of a file. Raises ConfigError."""
    try:
        content, status = read_secret(path, "password file", _MAX_FILE)
        password = content.decode().partition("\n")[0].rstrip("\r")
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such password file: its first line is the password") from None
    except ValueError:
        raise ConfigError(f"{path}: the password is not text in UTF-8") from None
    if os.name == "posix" and status.st_mode & 0o007:
        log.warning("%s: everybody on this machine can read the password: chmod 600 it", path)
    if len(password) < MIN_LENGTH:
        raise ConfigError(f"{path}: the password has less than {MIN_LENGTH} characters")
    return password


class Password:
    """Thread-safe. `clock`: seconds since 1970."""

    def __init__(self, password: str, client_key: bytes, clock: Callable[[], float] = time.time) -> None:
        self._password = password.encode()
        self._key = hmac.digest(client_key, b"raftkv http token " + self._password, "sha256")
        self._clock = clock

    def is_right(self, name: str, password: str) -> bool:
        return hmac.compare_digest(password.encode("utf-8", "replace"), self._password) and name == USER

    def token(self) -> str:
        """A new one, which counts for TOKEN_S seconds."""
        text = f"{int(self._clock() + TOKEN_S)}.{secrets.token_hex(8)}"
        return f"{text}.{self._signature(text)}"

    def admits(self, authorization: str) -> bool:
        """Whether the field of that name holds a token, or the password (Basic)."""
        scheme, _, rest = authorization.partition(" ")
        if scheme.lower() == "basic":
            return self._admits_basic(rest.strip())
        return self._is_token(rest.strip() if scheme.lower() == "bearer" else authorization)

    def _admits_basic(self, text: str) -> bool:
        try:
            name, _, password = base64.b64decode(text, validate=True).decode().partition(":")
        except (binascii.Error, ValueError):
            return False
        return self.is_right(name, password)

    def _is_token(self, token: str) -> bool:
        text, _, signature = token.rpartition(".")
        if not token.isascii() or not hmac.compare_digest(signature, self._signature(text)):
            return False
        return int(text.partition(".")[0]) > self._clock()

    def _signature(self, text: str) -> str:
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()
