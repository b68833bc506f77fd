"""The data folder itself: made or taken, closed to others, and what to tell the operator if it cannot be used.

What file systems and people leave in a folder (lost+found, .snapshot, copies) is left alone: it is neither
data nor a reason to stand still.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator

from raftkv.errors import ForeignDataError
from raftkv.storage.disk import FULL, Disk
from raftkv.storage.identity import LOCK, NODE

#: Made by file systems and their tools. So is all that begins with a dot, or can be.
_CLUTTER = {
    *("lost+found", "aquota.user", "aquota.group", "@eaDir", "~snapshot"),
    *("Thumbs.db", "desktop.ini", "$RECYCLE.BIN", "System Volume Information"),
}
_OURS = {
    "": re.compile(rf"{LOCK}|log|snapshot|reserve|{re.escape(NODE)}(\.tmp)?|hard_state\.json(\.tmp)?"),
    "log": re.compile(r"\d{20}\.jsonl(\.tmp)?"),
    "snapshot": re.compile(r"\d{20}-\d+\.jsonl(\.tmp|\.part)?"),
    "reserve": re.compile(r"\d{8}"),
}
#: What a first start that was cut short can leave behind, beside folders that hold nothing.
_LEFTOVERS = (LOCK, NODE + ".tmp", "log", "snapshot")
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS)


def prepare_folder(disk: Disk, folder: str) -> list[str]:
    """Make `folder`, or see that it can be taken, and close it to others. Returns notices for the operator.

    Raises ForeignDataError if it holds something else than a node's data.
    """
    notices = []
    if not disk.exists(folder):
        disk.make_folder(folder)
    strangers = _strangers(disk, folder)
    if strangers:
        notices.append(f"left alone in {folder}, since it is not this node's: {_some(strangers)}")
    try:
        if disk.make_private(folder):
            notices.append(f"took the rights on {folder} from all but its owner")
    except PermissionError as error:
        notices.append(
            f"others have rights on {folder}, which cannot be taken from them ({error.strerror}): they cannot "
            "read the data, but may be able to remove it"
        )
    return notices


def is_clutter(name: str) -> bool:
    """Is that a name which file systems, their tools and operators leave in any folder?"""
    return name.startswith(".") or name in _CLUTTER


def _strangers(disk: Disk, folder: str) -> list[str]:
    """What is in `folder` beside a node's files, but may be there. Raises ForeignDataError for the rest."""
    claimed = disk.exists(os.path.join(folder, NODE))
    found = []
    for inner, name in _content(disk, folder):
        path = os.path.join(inner, name)
        if is_clutter(name):
            found.append(path)
        elif not claimed and (inner or name not in _LEFTOVERS):
            raise ForeignDataError(
                f"{folder} has no {NODE} but is not empty (it holds {path}): data_dir must be a folder of "
                "this node's own, or one that does not exist yet"
            )
        elif not _OURS[inner].fullmatch(name):
            if inner == "log" and name.endswith(".jsonl"):
                raise ForeignDataError(
                    f"{os.path.join(folder, path)} is not named as the files of the log are. Nothing is "
                    "damaged: move it out of that folder if it is a copy, or give it back the name that it had"
                )
            found.append(path)
    return found


def _content(disk: Disk, folder: str) -> Iterator[tuple[str, str]]:
    """(the folder inside `folder`, a name in it) for all that matters."""
    for inner in _OURS:
        inside = os.path.join(folder, inner) if inner else folder
        if disk.exists(inside):
            for name in disk.list_folder(inside):
                yield inner, name


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def explain(error: OSError, folder: str, option: str = "data_dir") -> str:
    """What the disk refused while `folder` was used, which `option` names, and what to do about it."""
    path = os.fspath(error.filename or folder)
    return f"cannot read or write {path} ({error.strerror or error}): {_advice(error, path, folder, option)}"


def _advice(error: OSError, path: str, folder: str, option: str) -> str:
    if error.errno == errno.EFBIG:
        return "raise the size that a file of this process may have (ulimit -f), then start this node again"
    if error.errno in FULL:
        return "make room on that disk, then start this node again; nothing that was acknowledged is lost"
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return "raise the limit of open files (ulimit -n, or the system's), then start this node again"
    if error.errno == errno.EROFS:
        return f"mount that file system writable, or set {option} to a folder on another one"
    if error.errno in _NO_LOCKS and os.path.basename(path) == LOCK:
        return (
            "that file system has no locks, so two nodes could use one folder: mount it with locks (flock), "
            f"or set {option} to a folder on a local disk"
        )
    if isinstance(error, (FileExistsError, NotADirectoryError)):
        if os.path.islink(path) and not os.path.exists(path):
            return f"it is a link to {os.path.realpath(path)}, which is not there: is that disk mounted?"
        return f"{option} must be a folder, or the name of one that can be made, and there is a file of that name"
    if isinstance(error, PermissionError):
        user = f" (id {os.geteuid()})" if hasattr(os, "geteuid") else ""
        return (
            f"give the user that runs this program{user} the rights on {folder} and all that is in it, and to enter "
            "the folders above"
        )
    if error.errno in (errno.ELOOP, errno.ENAMETOOLONG):
        return f"correct {option}"
    return "check that disk, then start this node again"
