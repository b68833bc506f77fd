"""Whose folder it is: created, locked, refused."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from raftkv.errors import DamagedDataError, ForeignDataError, LockedError, NoRoomError, StorageError
from raftkv.raft.configuration import MAX_UID
from raftkv.raft.types import HardState
from raftkv.storage.identity import MAX_MET, Identity, Life
from raftkv.storage.persister import Persister
from raftkv.storage.sealed import seal, unseal

from tests.sim.disk import PID, SimDisk
from tests.storage.model import entries, lines, open_persister, snapshot

posix = pytest.mark.skipif(os.name != "posix", reason="Windows has other rights")


def opened(folder: Path, **options: Any) -> Persister:
    return Persister(str(folder), **{"node_id": 1, "cluster": "raftkv", **options})


# -- a new one -----------------------------------------------------------------------------------------------


def test_a_new_folder(tmp_path: Path) -> None:
    persister = opened(tmp_path / "a" / "b" / "data")
    assert persister.hard_state == HardState(0, None)
    assert (persister.snapshot, persister.entries, persister.last_index, persister.log_bytes) == (
        None,
        [],
        0,
        0,
    )
    assert persister.identity.met == {}
    (notice,) = persister.notices
    assert notice.startswith(
        f"{tmp_path}/a/b/data is new: node 1 of the cluster 'raftkv' begins with an empty database there."
    )
    uid = persister.identity.uid
    assert 0 < uid <= MAX_UID and uid != opened(tmp_path / "other").identity.uid
    persister.close()
    again = opened(tmp_path / "a" / "b" / "data")
    assert again.identity.uid == uid and again.notices == []
    again.close()


# -- lives, its own and those of others ----------------------------------------------------------------------


def test_each_start_is_noted_before_anything_is_said(tmp_path: Path) -> None:
    tokens: tuple[int, ...] = ()
    for starts in (1, 2, 3):
        persister = opened(tmp_path / "data")
        assert persister.identity.starts == starts and persister.identity.tokens[:-1] == tokens
        tokens = persister.identity.tokens
        persister.close()


def test_without_room_a_start_is_noted_before_the_first_promise() -> None:
    disk = SimDisk()
    open_persister(disk).close()
    disk.capacity = disk.used()
    persister = open_persister(disk)
    assert persister.identity.starts == 1
    with pytest.raises(NoRoomError):
        persister.save(HardState(1, 1), [])
    disk.capacity = None
    persister.save(HardState(1, 1), [])
    assert persister.identity.starts == 2
    persister.close()


def test_the_lives_of_others_are_remembered(tmp_path: Path) -> None:
    persister = opened(tmp_path / "data")
    for uid, life in ((3, Life(1, 5)), (2, Life(4, 6)), (3, Life(2, 7))):
        persister.remember(uid, life)
    persister.close()
    persister = opened(tmp_path / "data")
    assert persister.identity.met == {2: (4, 6), 3: (2, 7)}
    persister.close()


def test_of_very_many_others_those_that_were_met_last_are_remembered() -> None:
    identity = Identity("c", 1, 10)
    for uid in range(1, MAX_MET + 3):
        identity = identity.having_met(uid, Life(1, 1))
    assert len(identity.met) == MAX_MET and 2 not in identity.met and 3 in identity.met


@pytest.mark.parametrize("missing", ["log", "hard_state.json"])
def test_a_log_that_is_missing_is_refused(missing: str) -> None:
    disk = SimDisk()
    persister = open_persister(disk)
    persister.save(HardState(1, 1), entries(1, 1, 1))
    persister.close()
    for path in disk.files():
        if f"/{missing}" in path:
            disk.remove(path)
    with pytest.raises(DamagedDataError, match=f"{missing}.* is missing.*Move its data folder away"):
        open_persister(disk)


@posix
def test_only_its_owner_may_look_into_it(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        persister = opened(tmp_path / "data")
        persister.save(HardState(1, 1), entries(1, 1, 1))
        persister.write_snapshot(snapshot(1, 1), lines(snapshot(1, 1)))
        persister.close()
    finally:
        os.umask(old)
    modes = {
        path.name: stat.S_IMODE(path.stat().st_mode)
        for path in [tmp_path / "data", *tmp_path.rglob("data/**/*")]
    }
    assert len(modes) == 8
    for name, mode in modes.items():
        assert mode & 0o077 == 0, f"{name} has the mode {mode:o}"
    assert modes["data"] == 0o700


@posix
def test_an_empty_folder_made_by_hand_is_taken_and_closed_to_others(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    folder.chmod(0o755)
    persister = opened(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert persister.notices[0] == f"took the rights on {folder} from all but its owner"
    persister.close()


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root may become somebody else")
def test_a_folder_that_others_own_is_taken_if_it_can_be_written(public_path: Path) -> None:
    """As a volume that belongs to root and to a group of ours."""
    folder = public_path / "data"
    folder.mkdir()
    os.chown(folder, 0, 4711)
    folder.chmod(0o2770)
    said = open_as_somebody(folder)
    assert f"others have rights on {folder}, which cannot be taken from them" in said
    assert "is new" in said and "error" not in said


@pytest.mark.parametrize("claimed", [False, True])
def test_files_that_systems_and_people_leave_in_a_folder_are_left_alone(
    tmp_path: Path, claimed: bool
) -> None:
    folder = tmp_path / "data"
    if claimed:
        persister = opened(folder)
        persister.save(HardState(1, 1), entries(1, 3, 1))
        persister.write_snapshot(snapshot(2, 1), lines(snapshot(2, 1)))
        persister.close()
    strangers = ["lost+found/#1", ".snapshot/old", ".DS_Store", "Thumbs.db", ".nfs0001", "log/.nfs0001"]
    if claimed:
        for name in ("log", "snapshot"):
            (file,) = list((folder / name).iterdir())
            for copy in (f"{file.name}.bak", f"._{file.name}", f"{file.name}~"):
                (folder / name / copy).write_bytes(b"not " + file.read_bytes())
        strangers += ["notes.txt", "log/notes.tmp", "snapshot/notes.part"]
    for name in strangers:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("not ours")
    before = {path for path in folder.rglob("*") if path.suffix != ".jsonl"}
    persister = opened(folder)
    assert persister.entries == (entries(3, 3, 1) if claimed else [])
    notices = [notice for notice in persister.notices if "left alone" in notice]
    assert len(notices) == 1 and str(folder) in notices[0] and "\n" not in notices[0]
    persister.close()
    assert before <= set(folder.rglob("*"))


def test_a_path_object_is_as_good_as_a_string(tmp_path: Path) -> None:
    Persister(tmp_path / "data", node_id=1, cluster="c").close()  # type: ignore[arg-type]


# -- not ours ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"node_id": 2},
            r"belongs to node 1, but the configuration says node 2: correct \[node\] id or data_dir",
        ),
        ({"cluster": "b"}, r"belongs to the cluster 'raftkv', but the configuration says 'b': correct"),
    ],
)
def test_a_folder_of_another_member_is_refused(tmp_path: Path, options: Any, message: str) -> None:
    opened(tmp_path / "data").close()
    with pytest.raises(ForeignDataError, match=message):
        opened(tmp_path / "data", **options)
    opened(tmp_path / "data").close()  # and was let go of, unchanged


def test_two_members_whose_folders_were_swapped_are_both_refused(tmp_path: Path) -> None:
    for node_id in (1, 2):
        opened(tmp_path / f"data{node_id}", node_id=node_id).close()
    (tmp_path / "data1").rename(tmp_path / "swap")
    (tmp_path / "data2").rename(tmp_path / "data1")
    (tmp_path / "swap").rename(tmp_path / "data2")
    for node_id in (1, 2):
        with pytest.raises(ForeignDataError, match=f"belongs to node {3 - node_id}"):
            opened(tmp_path / f"data{node_id}", node_id=node_id)


@pytest.mark.parametrize(
    "name", ["diary.txt", "log/00000000000000000001.jsonl", "hard_state.json", "snapshot/x"]
)
def test_a_folder_that_holds_something_but_no_node_json_is_left_alone(tmp_path: Path, name: str) -> None:
    path = tmp_path / "data" / name
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    (tmp_path / "data").chmod(0o755)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ForeignDataError, match="has no node.json but is not empty"):
        opened(tmp_path / "data")
    assert sorted(tmp_path.rglob("*")) == before, "something was changed in somebody else's folder"
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o755


@pytest.mark.parametrize("name", ["node.json", "hard_state.json", "snapshot/00000000000000000001-1.jsonl"])
def test_an_unknown_format_is_refused(name: str) -> None:
    disk = SimDisk()
    persister = open_persister(disk)
    persister.save(HardState(1, 1), entries(1, 1, 1))
    persister.write_snapshot(snapshot(1, 1), lines(snapshot(1, 1)))
    persister.close()
    path = f"data/{name}"
    first, newline, rest = disk.read(path).partition(b"\n")
    plain = unseal(first + newline, path)
    del plain["crc"]
    disk.overwrite(path, seal({**plain, "format": 2}) + rest)
    with pytest.raises(
        ForeignDataError, match=f"{path} has format 2, and this version of raftkv knows only format 1"
    ):
        open_persister(disk)


def test_a_path_that_is_no_folder_is_refused_with_advice(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "unmounted")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    for name, advice in (
        ("file", r"file \(Not a directory\): data_dir must be a folder"),
        ("file/data", r"file \((Not a directory|File exists)\): data_dir must be a folder"),
        ("link", f"it is a link to {tmp_path / 'unmounted'}, which is not there: is that disk mounted"),
        ("link/data", f"it is a link to {tmp_path / 'unmounted'}, which is not there: is that disk mounted"),
        ("circle/data", "it is a link to .*circle, which is not there"),
        ("x" * 300, "File name too long.: correct data_dir"),
    ):
        with pytest.raises(StorageError, match=advice):
            opened(tmp_path / name)


@pytest.mark.parametrize(
    ("operation", "code", "advice"),
    [
        ("lock", errno.ENOLCK, "has no locks, so two nodes could use one folder: mount it with locks"),
        ("lock", errno.EOPNOTSUPP, "has no locks, so two nodes could use one folder: mount it with locks"),
        ("lock", errno.EROFS, "mount that file system writable, or set data_dir"),
        ("make_folder", errno.EROFS, "mount that file system writable, or set data_dir"),
        ("create", errno.ENOSPC, "make room on that disk"),
        ("create", errno.EFBIG, "ulimit -f"),
        ("create", errno.EMFILE, "raise the limit of open files"),
        ("make_folder", errno.EIO, "check that disk"),
    ],
)
def test_a_file_system_that_refuses_is_explained(operation: str, code: int, advice: str) -> None:
    disk = SimDisk()

    def before(what: str, path: str) -> None:
        if what == operation:
            raise OSError(code, os.strerror(code), path)

    disk.before = before
    with pytest.raises(StorageError, match=advice):
        open_persister(disk)


AS_SOMEBODY = """
import os, sys
from raftkv.errors import StorageError
from raftkv.storage.persister import Persister
os.setgroups([4711]); os.setgid(4712); os.setuid(4713)
try:
    print(Persister(sys.argv[1], node_id=1, cluster="raftkv").notices)
except StorageError as error:
    print("error:", error)
"""


def open_as_somebody(folder: Path) -> str:
    """What a process of another user, whose groups are 4711 and 4712, says when it opens `folder`."""
    command = [sys.executable, "-B", "-c", AS_SOMEBODY, str(folder)]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    return done.stdout + done.stderr


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root may become somebody else")
@pytest.mark.parametrize("name", ["locked", "locked/data", "locked/above/data", "used"])
def test_a_folder_that_may_not_be_used(public_path: Path, name: str) -> None:
    (public_path / "locked").mkdir(mode=0o700)
    opened(public_path / "used").close()
    (public_path / "used").chmod(0o777)
    said = open_as_somebody(public_path / name)
    assert said.startswith("error: cannot read or write ") and said.count("\n") == 1
    assert f"give the user that runs this program (id 4713) the rights on {public_path / name}" in said


# -- in use --------------------------------------------------------------------------------------------------

HOLDER = """
import sys
from raftkv.storage.persister import Persister
persister = Persister(sys.argv[1], node_id=1, cluster="raftkv")
print("open", flush=True)
sys.stdin.read()
"""


def test_two_processes_on_a_folder(tmp_path: Path) -> None:
    """The second is refused, and told the first one's pid; when the first is killed, the folder is free."""
    root = Path(__file__).parents[2]
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "data")],
        cwd=root,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "open\n"
        with pytest.raises(LockedError, match=f"is in use by the process {holder.pid}: stop that one first"):
            opened(tmp_path / "data")
    finally:
        holder.kill()
        holder.communicate()
    persister = opened(tmp_path / "data")
    assert (tmp_path / "data" / "LOCK").read_text() == f"{os.getpid()}\n"
    persister.close()


def test_two_openings_in_one_process(tmp_path: Path) -> None:
    persister = opened(tmp_path / "data")
    with pytest.raises(LockedError, match=f"in use by the process {os.getpid()}"):
        opened(tmp_path / "data")
    persister.close()
    opened(tmp_path / "data").close()


def test_the_simulated_disk_locks_as_well() -> None:
    disk = SimDisk()
    open_persister(disk)
    with pytest.raises(LockedError, match=f"in use by the process {PID}"):
        open_persister(disk)


def test_close_closes_everything() -> None:
    disk = SimDisk()
    persister = open_persister(disk)
    persister.save(HardState(1, 1), entries(1, 9, 1))
    persister.write_snapshot(snapshot(9, 1), lines(snapshot(9, 1)))
    persister.receive_chunk(snapshot(20, 1), 0, b"some", False)
    persister.close()
    assert not disk.open_files
    open_persister(disk)
