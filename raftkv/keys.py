"""Key files: the secret that a listener and its callers share.

A key file holds one key as text. Nobody may read it but its owner and, if it is given to a group on purpose,
the members of that group: Kubernetes makes its secrets root:group 0440, and links to links. A cluster has two
key files, one for clients and one for peers. Who may talk to a node is decided by who can read them.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shlex
import stat

from raftkv.errors import ConfigError

MIN_KEY_BYTES = 16
_MAX_FILE_BYTES = 64 << 10


def load_key(path: str, *, create: bool) -> bytes:
    """The key in a key file: its text without surrounding white space, used as bytes.

    With `create` a missing file is made, atomically: of any number of processes that do so at once, all
    return the same key. Raises ConfigError if the file is missing (without `create`), readable by strangers,
    or holds no key.
    """
    try:
        return _read_key(path)
    except FileNotFoundError:
        if os.path.islink(path):
            raise ConfigError(
                f"{path}: this link leads to {os.path.realpath(path)}, where no key file is"
            ) from None
        if not create:
            raise ConfigError(
                f"{path}: no such key file. Copy it from a server that has it, or {how_to_make(path)}"
            ) from None
    try:
        _create_key(path)
        return _read_key(path)
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot make the key file ({error.strerror}). Elsewhere it can be made and copied here: "
            + how_to_make(path)
        ) from None


def how_to_make(path: str) -> str:
    """A command for the operator, as the end of a sentence."""
    return f"make one: (umask 077; python3 -c 'import secrets; print(secrets.token_hex(32))' > {shlex.quote(path)})"


def who_else_reads(path: str) -> str | None:
    """A sentence for the operator if a group may read the key file, which load_key() has accepted."""
    status = os.stat(path)
    if os.name == "posix" and status.st_mode & 0o040:
        return f"{path}: the members of group {status.st_gid} can read this key file, too"
    return None


def read_secret(path: str, name: str, most: int) -> tuple[bytes, os.stat_result]:
    """Up to `most` bytes of a file, which messages call `name`, and what the system says of it. Raises ConfigError, and
    FileNotFoundError."""
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ConfigError(f"{path}: no file, but a {_kind(status.st_mode)}: name the {name} itself")
            return file.read(most), status
    except FileNotFoundError:
        raise
    except OSError as error:
        if os.path.isdir(path):
            raise ConfigError(f"{path}: no file, but a folder: name the {name} itself") from None
        advice = f": {_owner_advice()}" if isinstance(error, PermissionError) else ""
        raise ConfigError(f"{path}: cannot read the {name}: {error.strerror}{advice}") from None


def _read_key(path: str) -> bytes:
    key, status = read_secret(path, "key file", _MAX_FILE_BYTES + 1)
    if os.name == "posix":  # elsewhere the mode bits say nothing about who may read
        _check_readers(path, status)
    return _check_key(path, key)


def _open_at_once(path: str, flags: int) -> int:
    """Without O_NONBLOCK the other end of a pipe would be waited for."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _check_key(path: str, content: bytes) -> bytes:
    key = content.strip()
    if len(key) < MIN_KEY_BYTES:
        raise ConfigError(
            f"{path}: the key has {len(key)} bytes, but must have at least {MIN_KEY_BYTES}: remove the file, then "
            + how_to_make(path)
        )
    if len(content) > _MAX_FILE_BYTES or any(not (32 <= byte < 127 or byte in b"\t\r\n") for byte in key):
        raise ConfigError(
            f"{path}: this is no key, which is short printable ASCII text: name the key file, or {how_to_make(path)}"
        )
    return key


def _check_readers(path: str, status: os.stat_result) -> None:
    mode, ours = stat.S_IMODE(status.st_mode), status.st_uid == os.geteuid()
    in_group = os.geteuid() == 0 or status.st_gid in (os.getegid(), *os.getgroups())
    # 0640 of our own is what a careless umask makes; 0440, or a file of another user's, was meant so.
    allowed = 0o040 if in_group and not (ours and mode & 0o200) else 0
    if mode & 0o077 & ~allowed:
        own = f"run: chmod 600 {shlex.quote(path)} (in Kubernetes: defaultMode: 0400)"
        advice = own if ours else _owner_advice()
        raise ConfigError(f"{path}: others can read this key file (mode {mode:04o}); {advice}")


def _owner_advice() -> str:
    """What to do with a file whose rights are another user's to change."""
    return (
        f"its owner can give it to a group of this program's user (which has the id {_user()}) with mode 0440; "
        "in Kubernetes that is defaultMode: 0440 with an fsGroup"
    )


def _user() -> str:
    return str(os.geteuid()) if hasattr(os, "geteuid") else "of this process"


def _kind(mode: int) -> str:
    kinds = ((stat.S_ISDIR, "folder"), (stat.S_ISFIFO, "pipe"), (stat.S_ISSOCK, "socket"))
    return next((name for is_kind, name in kinds if is_kind(mode)), "device")


def _create_key(path: str) -> None:
    """Make `path` with a new key, durable and whole at once, unless another process has made it meanwhile."""
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
    while True:  # those above, too: any of them may have been created a moment ago
        _sync_folder(folder)
        if folder == os.path.dirname(folder):
            return
        folder = os.path.dirname(folder)


def _remove_if_there(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return  # renamed, not linked


def _sync_folder(folder: str) -> None:
    """As far as that is allowed: whose folder we may not open we have not changed."""
    if os.name != "posix":
        return
    with contextlib.suppress(PermissionError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno != errno.EINVAL:  # a file system that knows no fsync of a folder says EINVAL
                raise
        finally:
            os.close(descriptor)
