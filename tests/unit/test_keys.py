"""Key files: private, whole at once, and one key for all that ask at once."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys

import pytest
from raftkv.errors import ConfigError
from raftkv.keys import MIN_KEY_BYTES, load_key, who_else_reads

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

posix_only = pytest.mark.skipif(os.name != "posix", reason="mode bits")


def test_a_key_is_made_once(tmp_path):
    path = str(tmp_path / "new" / "folder" / "a.key")
    key = load_key(path, create=True)
    assert len(key) == 64
    assert load_key(path, create=True) == load_key(path, create=False) == key
    assert load_key(str(tmp_path / "b.key"), create=True) != key
    assert os.listdir(os.path.dirname(path)) == ["a.key"], "a temporary file was left behind"


@posix_only
def test_a_new_key_is_private_whatever_the_umask(tmp_path):
    old = os.umask(0)
    try:
        load_key(str(tmp_path / "a.key"), create=True)
    finally:
        os.umask(old)
    assert stat.S_IMODE(os.stat(tmp_path / "a.key").st_mode) == 0o600


@posix_only
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666, 0o610, 0o444])
def test_a_key_that_others_can_read_is_refused(mode, tmp_path):
    path = str(tmp_path / "a key")
    load_key(path, create=True)
    os.chmod(path, mode)
    with pytest.raises(
        ConfigError, match=rf"others can read this key file \(mode {mode:04o}\); run: "
    ) as caught:
        load_key(path, create=True)
    advice = str(caught.value).split("run: ")[1].split(" (in")[0]
    subprocess.run(["sh", "-c", advice], check=True)
    load_key(path, create=False)
    assert who_else_reads(path) is None


@posix_only
def test_a_key_that_is_given_to_our_group_is_accepted_through_links(tmp_path):
    """As Kubernetes makes them: root:group 0440, a link to a link."""
    (tmp_path / "..2026").mkdir()
    key = load_key(str(tmp_path / "..2026" / "a.key"), create=True)
    os.chmod(tmp_path / "..2026" / "a.key", 0o440)
    (tmp_path / "..data").symlink_to("..2026")
    (tmp_path / "a.key").symlink_to("..data/a.key")
    path = str(tmp_path / "a.key")
    assert load_key(path, create=True) == key
    assert "can read this key file, too" in who_else_reads(path)


AS_SOMEBODY = """
import os, sys
from raftkv.errors import ConfigError
from raftkv.keys import load_key
os.setgroups([4711]); os.setgid(4712); os.setuid(4713)
try:
    print(len(load_key(sys.argv[1], create=False)))
except ConfigError as error:
    print(error)
"""


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root may become somebody else")
@pytest.mark.parametrize(
    "owner, group, mode, answer",
    [
        (0, 4711, 0o440, "64"),
        (0, 4712, 0o640, "64"),
        (4713, 0, 0o400, "64"),
        (4713, 4711, 0o640, "others can read this key file (mode 0640); run: chmod 600"),
        (4713, 0, 0o440, "others can read this key file (mode 0440); run: chmod 600"),
        (0, 4711, 0o460, "others can read this key file (mode 0460); its owner can give it to a group"),
        (0, 4711, 0o444, "others can read this key file (mode 0444); its owner can give it to a group"),
        (0, 0, 0o440, "cannot read the key file: Permission denied: its owner can give it to a group of"),
    ],
)
def test_a_key_of_somebody_else_is_read_if_no_others_can(owner, group, mode, answer, public_path):
    path = write_key(public_path / "a.key", b"k" * 64)
    os.chmod(path, mode)
    os.chown(path, owner, group)
    done = subprocess.run([sys.executable, "-c", AS_SOMEBODY, path], cwd=ROOT, capture_output=True, text=True)
    assert answer in done.stdout, done.stderr


def test_a_missing_key_is_not_made_unless_asked_for(tmp_path):
    path = str(tmp_path / "a.key")
    with pytest.raises(ConfigError, match=r"a\.key: no such key file"):
        load_key(path, create=False)
    assert os.listdir(tmp_path) == []


@posix_only
def test_the_advice_for_a_missing_key_works(tmp_path):
    path = str(tmp_path / "a.key")
    with pytest.raises(ConfigError) as caught:
        load_key(path, create=False)
    command = str(caught.value).split("make one: ")[1].replace("python3", sys.executable)
    subprocess.run(["sh", "-c", command], check=True)
    assert len(load_key(path, create=False)) == 64


def write_key(path, content: bytes) -> str:
    path.write_bytes(content)
    os.chmod(path, 0o600)
    return str(path)


def test_white_space_round_a_key_does_not_count(tmp_path):
    assert (
        load_key(write_key(tmp_path / "a.key", b"  0123456789abcdef\r\n\n"), create=False)
        == b"0123456789abcdef"
    )


@pytest.mark.parametrize("content", [b"", b"\n", b"x" * (MIN_KEY_BYTES - 1) + b"\n"])
def test_a_short_key_is_refused(content, tmp_path):
    with pytest.raises(ConfigError, match=r"a\.key: the key has \d+ bytes, but must have at least 16"):
        load_key(write_key(tmp_path / "a.key", content), create=True)


@pytest.mark.parametrize(
    "content", [b"\x00" * 64, b"\xff\xfek\x00e\x00y\x00" * 8, b"k" * 70_000, "\u00e9".encode() * 32]
)
def test_a_key_file_without_text_is_refused(content, tmp_path):
    with pytest.raises(ConfigError, match=r"a\.key: this is no key, .* make one: "):
        load_key(write_key(tmp_path / "a.key", content), create=True)


@posix_only
def test_a_key_path_that_is_no_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for path, message in (
        (tmp_path, "no file, but a folder"),
        (tmp_path / "pipe", "no file, but a pipe"),
        ("/dev/zero", "no file, but a device"),
        (tmp_path / "link", f"this link leads to {tmp_path / 'nowhere'}, where no key file is"),
    ):
        with pytest.raises(ConfigError, match=message):
            load_key(str(path), create=True)


def test_a_key_that_cannot_be_made(tmp_path, monkeypatch):
    def no_links(*_):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link" if os.name == "posix" else "rename", no_links)
    with pytest.raises(ConfigError, match=r"a\.key: cannot make the key file \(Operation not permitted\)"):
        load_key(str(tmp_path / "a.key"), create=True)
    assert os.listdir(tmp_path) == []


def test_processes_that_start_at_once_agree_on_one_key(tmp_path):
    """Each process waits at a pipe for the common start; no one may see another's half-made file."""
    path = str(tmp_path / "keys" / "a.key")
    program = (
        "import sys; from raftkv.keys import load_key; print('here', flush=True); sys.stdin.readline();"
        "print(load_key(sys.argv[1], create=True).decode())"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        for _ in range(8)
    ]
    assert [process.stdout.readline() for process in processes] == ["here\n"] * 8
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    keys = [process.communicate()[0] for process in processes]
    assert all(process.returncode == 0 for process in processes)
    assert len(set(keys)) == 1, f"the processes have different keys: {keys}"
    assert os.listdir(tmp_path / "keys") == ["a.key"]
