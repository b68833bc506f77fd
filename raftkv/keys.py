"""Key files: the secret that a listener and its callers share.

A key file holds one key as text, and only its owner may read it. A cluster has two, one for clients and one
for peers. Who may talk to a node is decided by who can read them.
"""

from __future__ import annotations

import os
import secrets
import stat

from raftkv.errors import ConfigError

MIN_KEY_BYTES = 16
_MAX_FILE_BYTES = 64 << 10


def load_key(path: str, *, create: bool) -> bytes:
    """The key in a key file: its text without surrounding white space, used as bytes.

    With `create` a missing file is made, atomically: of any number of processes that do so at once, all
    return the same key. Raises ConfigError if the file is missing (without `create`), readable by others than
    its owner, or too short to be a key.
    """
    try:
        return _read_key(path)
    except FileNotFoundError:
        if not create:
            raise ConfigError(
                f"{path}: no such key file. Copy it from a server that has it, or make one: "
                f"(umask 077; python3 -c 'import secrets; print(secrets.token_hex(32))' > {path})"
            ) from None
    try:
        _create_key(path)
        return _read_key(path)
    except OSError as error:
        raise ConfigError(f"{path}: cannot make the key file: {error.strerror}") from None


def _read_key(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            key = file.read(_MAX_FILE_BYTES).strip()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the key file: {error.strerror}") from None
    if os.name == "posix" and mode & 0o077:  # elsewhere the mode bits say nothing about who may read
        raise ConfigError(f"{path}: others can read this key file (mode {mode:04o}); run: chmod 600 {path}")
    if len(key) < MIN_KEY_BYTES:
        raise ConfigError(f"{path}: the key has {len(key)} bytes, but must have at least {MIN_KEY_BYTES}")
    return key


def _create_key(path: str) -> None:
    """Make `path` with a new key, whole at once, unless another process has made it meanwhile."""
    folder = os.path.dirname(os.path.abspath(path))
    os.makedirs(folder, mode=0o700, exist_ok=True)
    temporary = f"{path}.{os.getpid()}-{secrets.token_hex(4)}.tmp"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(secrets.token_hex(32).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        if os.name == "posix":
            os.link(temporary, path)  # fails if `path` exists, where rename would replace it
        else:
            os.rename(temporary, path)  # fails if `path` exists, there
    except FileExistsError:
        return  # another process was first: its key is everybody's
    finally:
        _remove_if_there(temporary)


def _remove_if_there(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return  # renamed, not linked
