"""The programs start however they are called."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

BIN = Path(__file__).resolve().parents[2] / "bin"
PROGRAMS = ["kvserver.py", "kvclient.py", "kvcluster.py", "kvbench.py"]
PATIENCE_S = 60.0

#: Modules of the standard library and of ours; each ends whoever imports it.
TRAPS = ["select", "queue", "logging", "argparse", "socket", "raftkv", "tests", "random", "signal"]

FLAGS = [["-I", "-B"], ["-E", "-s", "-OO"], ["-S", "-Werror"]]
if sys.version_info >= (3, 11):
    FLAGS.append(["-P"])
VARIABLES = {
    "PYTHONSAFEPATH": "1",
    "PYTHONOPTIMIZE": "2",
    "PYTHONWARNINGS": "error",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONIOENCODING": "ascii",
    "PYTHONUTF8": "0",
    "PYTHONCOERCECLOCALE": "0",
    "PYTHONNOUSERSITE": "1",
    "PYTHONUNBUFFERED": "1",
    "PYTHONHASHSEED": "7",
    "LC_ALL": "C",
}


@pytest.fixture
def traps(tmp_path: Path) -> Path:
    folder = tmp_path / "traps"
    (folder / "raftkv").mkdir(parents=True)
    for name in TRAPS:
        (folder / f"{name}.py").write_text(f"raise SystemExit('imported {name} of the wrong folder')")
    (folder / "raftkv" / "__init__.py").write_text("raise SystemExit('imported the wrong raftkv')")
    return folder


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "HOME"))}
    return {**kept, **more}


def version(command: list[str], cwd: Path, env: dict[str, str]) -> tuple[int, str, str]:
    done = subprocess.run(
        [*command, "--version"],
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    return done.returncode, done.stdout.split(" ")[0], done.stderr


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_starts_through_a_link_from_any_folder_without_a_home(program: str, traps: Path) -> None:
    link = traps / "kv"
    link.symlink_to(BIN / program)
    env = environment(PYTHONPATH=str(traps), **VARIABLES)
    assert version([sys.executable, str(link)], traps, env) == (0, "raftkv", "")


@pytest.mark.parametrize("flags", FLAGS)
def test_a_program_starts_under_the_flags_of_python(flags: list[str], traps: Path) -> None:
    for program in PROGRAMS:
        command = [sys.executable, *flags, str(BIN / program)]
        assert version(command, traps, environment(PYTHONPATH=str(traps))) == (0, "raftkv", "")


@contextlib.contextmanager
def launcher(
    flags: list[str], cwd: Path, env: dict[str, str], *args: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Of a cluster of one node."""
    process = subprocess.Popen(
        [sys.executable, *flags, str(BIN / "kvcluster.py"), "--nodes", "1", *args],
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("flags", [[], ["-I", "-S", "-OO", "-Werror"]])
def test_the_launcher_starts_nodes_that_a_client_finds(flags: list[str], traps: Path) -> None:
    """In a home with a name that is no ASCII, which no shell has put in place of ~."""
    home = traps / "hôme sweet"
    home.mkdir()
    env = environment(PYTHONPATH=str(traps), HOME=str(home), **VARIABLES)
    with launcher(flags, traps, env, "--data-dir=~/the data/") as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline().startswith(b"ready"), process.stderr.read()
        client = [sys.executable, *flags, str(BIN / "kvclient.py"), "--config=~/the data/client.ini"]
        for command, answer in ((["put", "k", "v"], b"OK\n"), (["get", "k"], b"v\n")):
            done = subprocess.run(
                [*client, *command], cwd=traps, env=env, capture_output=True, timeout=PATIENCE_S, check=False
            )
            assert (done.stdout, done.stderr) == (answer, b"")
        process.terminate()
        _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    assert b"Traceback" not in err and b"Warning:" not in err, err
    assert sorted(path.name for path in (home / "the data").iterdir() if path.is_dir()) == ["server1"]


@pytest.mark.skipif(os.name == "nt", reason="a folder in use cannot be removed")
def test_a_current_folder_that_is_gone(tmp_path: Path) -> None:
    """Only what is relative to it needs it."""
    gone = tmp_path / "gone"
    start = f'mkdir "{gone}"; cd "{gone}"; rmdir "{gone}"; exec "$@"'
    for arguments, status, words in (
        (["kvserver.py", "some.ini"], 2, "some.ini: the current folder is gone; give the whole path"),
        (["kvclient.py", "--config", "some.ini", "get", "k"], 2, "the current folder is gone"),
        (["kvcluster.py", "--data-dir", "data"], 2, "data: the current folder is gone; give the whole path"),
        (["kvserver.py", str(tmp_path / "some.ini")], 2, "some.ini: cannot read the configuration file"),
        (["kvbench.py", "--version"], 0, ""),
    ):
        command = [sys.executable, str(BIN / arguments[0]), *arguments[1:]]
        done = subprocess.run(
            ["sh", "-c", start, "sh", *command],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert done.returncode == status, done.stderr
        assert words in done.stderr and len(done.stderr.splitlines()) == (status != 0)


@pytest.mark.parametrize("data_dir", ["", "~nobody-of-this-name/data"])
def test_a_data_dir_that_is_no_path(data_dir: str, tmp_path: Path) -> None:
    with launcher([], tmp_path, environment(), f"--data-dir={data_dir}") as process:
        out, err = process.communicate(timeout=PATIENCE_S)
        assert (process.returncode, out) == (2, b"")
        assert b"is no path, or one to a home that is not known" in err and err.count(b"\n") == 1
