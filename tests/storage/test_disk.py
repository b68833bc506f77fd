"""The real disk: what it promises, and that the simulated one behaves like it."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any, Callable

import pytest
from raftkv.storage import disk as disk_module
from raftkv.storage.disk import Disk

from tests.sim.disk import SimDisk
from tests.storage.model import Model, open_persister, visible
from tests.storage.steps import HISTORY

posix = pytest.mark.skipif(os.name != "posix", reason="replaces calls that Windows does not have")


def test_both_disks_hold_the_same_after_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole history on each, with a new opening after every step: same bytes in the same files."""
    monkeypatch.chdir(tmp_path)
    real, simulated = Disk(), SimDisk()
    model = Model()
    for step in HISTORY:
        for disk in (real, simulated):
            persister = open_persister(disk)  # type: ignore[arg-type]
            if step.method in ("receive_chunk", "install"):  # these need the ones before
                for chunk in HISTORY[HISTORY.index(step) - 3 : HISTORY.index(step)]:
                    if chunk.args[0] == step.args[0]:
                        chunk.run(persister)
            step.run(persister)
            persister.close()
            assert not simulated.open_files
        model = step.during(model)[-1]
        assert files(real) == files(simulated), f"after {step}"
    persister = open_persister(real)  # type: ignore[arg-type]
    assert visible(persister) == model.visible()
    persister.close()


def files(disk: Disk | SimDisk) -> dict[str, bytes]:
    paths = [f"data/{name}" for name in ("node.json", "hard_state.json") if disk.exists(f"data/{name}")]
    for folder in ("data/log", "data/snapshot"):
        paths += [f"{folder}/{name}" for name in disk.list_folder(folder)]
    return {path: disk.read(path) for path in paths}


def test_files(tmp_path: Path) -> None:
    disk, path = Disk(), str(tmp_path / "a")
    file = disk.create(path)
    file.write_at(0, b"0123")
    file.write_at(4, b"")
    file.write_at(4, b"4567")
    file.sync()
    assert file.size() == 8
    file.close()
    file.close()
    file = disk.update(path)
    file.write_at(6, b"6789")
    file.write_at(0, b"0")
    file.sync()
    file.close()
    assert disk.read(path) == b"0123456789"
    reader = disk.open(path)
    disk.create(str(tmp_path / "b")).close()
    disk.rename(str(tmp_path / "b"), path)
    assert disk.read(path) == b""
    assert [reader.read(2, 3), reader.read(8, 100), reader.read(10, 1)] == [b"234", b"89", b""]
    disk.remove(path)
    assert reader.read(0, 1) == b"0" and not disk.exists(path)
    reader.close()


def test_errors_name_the_file(tmp_path: Path) -> None:
    disk, path = Disk(), str(tmp_path / "a")
    for attempt in (disk.read, disk.update, disk.open, disk.remove, disk.list_folder, disk.sync_folder):
        with pytest.raises(FileNotFoundError) as caught:
            attempt(path)
        assert caught.value.filename == path
    file = disk.create(path)
    os.close(file._fd)  # type: ignore[attr-defined]
    for failing in (
        lambda: file.write_at(0, b"x"),
        file.sync,
        lambda: file.read(0, 1),
    ):
        with pytest.raises(OSError) as error:
            failing()
        assert error.value.filename == path and error.value.errno == errno.EBADF
    file._fd = -1  # type: ignore[attr-defined]


@pytest.mark.parametrize("write_at", [disk_module._write_at, disk_module._seek_and_write])
@pytest.mark.parametrize("takes, offsets", [(3, [5, 8, 11, 14]), (1 << 30, [5])])
def test_a_short_write_in_place_is_completed(
    takes: int,
    offsets: list[int],
    write_at: Callable[..., int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And one that is not short is one call."""
    asked: list[int] = []

    def short_write(fd: int, data: Any, offset: int) -> int:
        asked.append(offset)
        return write_at(fd, bytes(data[:takes]), offset)

    path = str(tmp_path / "a")
    Disk().create(path).close()
    file = Disk().update(path)
    file.write_at(0, b"....................")
    monkeypatch.setattr(disk_module, "_write_at", short_write)
    file.write_at(5, b"0123456789")
    file.close()
    assert Disk().read(path) == b".....0123456789....." and asked == offsets


@posix
def test_a_folder_that_knows_no_fsync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(code: int) -> None:
        def fsync(fd: int) -> None:
            raise OSError(code, os.strerror(code))

        monkeypatch.setattr(os, "fsync", fsync)

    refuse(errno.EINVAL)
    Disk().sync_folder(str(tmp_path))
    refuse(errno.EIO)
    with pytest.raises(OSError) as caught:
        Disk().sync_folder(str(tmp_path))
    assert caught.value.filename == str(tmp_path)


@posix
def test_a_sync_leaves_out_what_the_data_does_not_need(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the system can: an fsync also waits for the file's times."""
    asked: list[str] = []
    file = Disk().create(str(tmp_path / "a"))
    monkeypatch.setattr(disk_module, "fcntl", None)
    monkeypatch.setattr(os, "fsync", lambda fd: asked.append("fsync"))
    monkeypatch.setattr(os, "fdatasync", lambda fd: asked.append("fdatasync"), raising=False)
    file.sync()
    monkeypatch.delattr(os, "fdatasync")
    file.sync()
    file.close()
    assert asked == ["fdatasync", "fsync"]


@posix
def test_macos_asks_the_drive_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There fsync() leaves the data in the drive's cache, which a power cut empties."""
    asked: list[int] = []

    class MacFcntl:
        F_FULLFSYNC = 51
        supported = True

        @classmethod
        def fcntl(cls, fd: int, command: int) -> None:
            asked.append(command)
            if not cls.supported:
                raise OSError(errno.ENOTSUP, "Operation not supported")

    file = Disk().create(str(tmp_path / "a"))
    monkeypatch.setattr(disk_module, "fcntl", MacFcntl)
    monkeypatch.setattr(os, "fsync", lambda fd: asked.append(-1))
    monkeypatch.delattr(os, "fdatasync", raising=False)
    file.sync()
    assert asked == [51]
    MacFcntl.supported = False
    file.sync()
    assert asked == [51, 51, -1], "a network volume cannot do it"
    file.close()


def test_a_new_folder_is_durable_up_to_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    monkeypatch.setattr(Disk, "sync_folder", lambda self, path: synced.append(path))
    Disk().make_folder(str(tmp_path / "a" / "b" / "c"))
    assert (tmp_path / "a" / "b" / "c").is_dir()
    assert synced[:3] == [str(tmp_path / "a" / "b"), str(tmp_path / "a"), str(tmp_path)]


def test_the_lock_outlives_nothing(tmp_path: Path) -> None:
    disk, path = Disk(), str(tmp_path / "LOCK")
    lock = disk.lock(path)
    with pytest.raises(BlockingIOError):
        disk.lock(path)
    assert disk.read(path) == b"%d\n" % os.getpid()
    lock.release()
    lock.release()
    disk.lock(path).release()
