"""The prompt: lines, Ctrl-C, Tab, history; on a real pseudo-terminal where readline is what matters."""

from __future__ import annotations

import os
import re
import signal
import stat
import sys
import textwrap
import threading

import pytest
from raftkv.cli import prompt
from raftkv.cli.commands import COMMANDS
from raftkv.cli.prompt import Prompt, call_abandonable
from raftkv.errors import NotApplied

pytest.importorskip("pty", reason="no pseudo-terminals here")
from tests.unit.terminal import Terminal

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Clerk:
    """Just enough of Clerk, on a dict. put() waits for `gate`; scan() fails with `failure`."""

    def __init__(self):
        self.data = {"apple": "1", "apricot": "2", "banana": "3", "a key": "4"}
        self.gate = threading.Event()
        self.gate.set()
        self.waiting = threading.Event()
        self.failure = None

    def get_with_revision(self, key):
        return (self.data[key], 1) if key in self.data else None

    def put(self, key, value):
        if not self.gate.is_set():
            self.waiting.set()
            sys.stdout.write("(put waits)\n")  # in one piece: the main thread writes too
            sys.stdout.flush()
        self.gate.wait()
        self.data[key] = value
        return 2

    def scan(self, prefix="", start="", limit=None):
        self.gate.wait()
        if self.failure:
            raise self.failure
        return [(key, self.data[key], 1) for key in sorted(self.data) if key.startswith(prefix)]


@pytest.fixture
def clerk():
    clerk = Clerk()
    yield clerk
    clerk.gate.set()


def test_lines(clerk, capsys):
    shell = Prompt(clerk, COMMANDS)
    for line in (
        "get apple",
        "",
        "   ",
        "put b 'two words'",
        "get b",
        "get none",
        "got",
        "put 'x",
        "?",
        "help get",
    ):
        assert not shell.onecmd(line)
    out, err = capsys.readouterr()
    assert out.splitlines() == ["1", "OK", "two words", "(nil)", "get KEY", "    the key's value, or (nil)"]
    assert err.splitlines() == [
        "error: unknown command 'got'; `help` lists the commands",
        "error: no closing quotation: quote a value by shell rules, like 'two words'",
        "error: unknown command '?'; `help` lists the commands",
    ]


@pytest.mark.parametrize("line", ["exit", "quit", " exit ", "EOF"])
def test_leaving(clerk, line):
    assert Prompt(clerk, COMMANDS).onecmd(line)


def test_ctrl_c_at_the_prompt_drops_the_line(clerk, capsys, monkeypatch, tmp_path):
    typed = iter(
        [KeyboardInterrupt, "get apple", KeyboardInterrupt, KeyboardInterrupt, "get banana", EOFError]
    )

    def read_line(_prompt):
        line = next(typed)
        if not isinstance(line, str):
            raise line
        return line

    monkeypatch.setattr("builtins.input", read_line)
    monkeypatch.setattr(prompt, "readline", None)
    Prompt(clerk, COMMANDS).run()
    assert capsys.readouterr().out.split() == ["1", "3"]
    assert next(typed, None) is None


def test_json(clerk, capsys):
    Prompt(clerk, COMMANDS, as_json=True).onecmd("get apple")
    assert capsys.readouterr().out == '{"key": "apple", "value": "1", "revision": 1}\n'


def test_only_a_slow_answer_says_how_long_it_took(clerk, capsys, monkeypatch):
    shell = Prompt(clerk, COMMANDS)
    monkeypatch.setattr(prompt, "SLOW_ANSWER_S", float("inf"))
    shell.onecmd("get apple")
    assert capsys.readouterr().out == "1\n"
    monkeypatch.setattr(prompt, "SLOW_ANSWER_S", 0.0)
    shell.onecmd("get apple")
    assert re.fullmatch(r"1\n\(\d+\.\d\d s\)\n", capsys.readouterr().out)


def test_ctrl_c_abandons_the_command_only(clerk, capsys):
    clerk.gate.clear()

    def interrupt():
        clerk.waiting.wait()
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    shell = Prompt(clerk, COMMANDS)
    assert not shell.onecmd("put apple 9")
    thread.join()
    shell.onecmd("get apple")
    out, err = capsys.readouterr()
    assert out == "(put waits)\n1\n", "the prompt goes on while the abandoned write still waits"
    assert err == "\nabandoned; if it was a write, it may still take effect\n"


def test_an_abandonable_call_returns_raises_and_gives_up():
    assert call_abandonable(lambda: 7) == 7
    with pytest.raises(NotApplied, match="no leader"):
        call_abandonable(lambda: (_ for _ in ()).throw(NotApplied("no leader")))
    gate = threading.Event()
    with pytest.raises(TimeoutError):
        call_abandonable(gate.wait, timeout_s=0.01)
    gate.set()


def test_completion(clerk):
    shell = Prompt(clerk, COMMANDS)

    def complete(line):
        begin = len(line) - len(line.split(" ")[-1])
        if begin == 0:
            return shell.completenames(line)
        return shell.completedefault(line[begin:], line, begin, len(line))

    assert complete("s") == ["scan ", "status "]
    assert complete("get ap") == ["apple ", "apricot "]
    assert complete("put ba") == ["banana "]
    assert complete("delete 'a") == complete("delete a") == ["'a key' ", "apple ", "apricot "]
    assert complete("scan x") == []
    assert complete("put apple ap") == [], "a value is not completed"
    assert complete("status a") == complete("got a") == []
    clerk.failure = NotApplied("no leader")
    assert complete("get ap") == []


def test_a_tab_does_not_wait_long_for_a_dead_cluster(clerk, monkeypatch):
    monkeypatch.setattr(prompt, "COMPLETION_TIMEOUT_S", 0.01)
    clerk.gate.clear()
    assert Prompt(clerk, COMMANDS).completedefault("ap", "get ap", 4, 6) == []


# -- on a terminal -------------------------------------------------------------------------------------------

PROGRAM = textwrap.dedent(
    """
    import sys
    sys.path.insert(0, {root!r})
    if {without_readline}:
        sys.modules["readline"] = None
    from tests.unit.test_cli_prompt import Clerk
    from raftkv.cli.commands import COMMANDS
    from raftkv.cli.prompt import Prompt
    clerk = Clerk()
    if {slow}:
        clerk.gate.clear()
    Prompt(clerk, COMMANDS).run()
    print("left")
    """
)


def start(home, without_readline=False, slow=False):
    program = PROGRAM.format(root=ROOT, without_readline=without_readline, slow=slow)
    return Terminal([sys.executable, "-c", program], str(home))


def test_a_session_on_a_terminal(tmp_path):
    with start(tmp_path) as terminal:
        terminal.expect("> ")
        terminal.type("get app\t\n")
        terminal.expect("get apple")
        terminal.expect("1\r\n> ")
        terminal.type("get banana\n")
        terminal.expect("3\r\n> ")
        terminal.type("\x04")
        terminal.expect("left")
        assert terminal.wait() == 0
    history = tmp_path / ".raftkv_history"
    assert history.read_text().splitlines() == ["get apple ", "get banana"]
    assert stat.S_IMODE(history.stat().st_mode) == 0o600

    with start(tmp_path) as terminal:
        terminal.expect("> ")
        terminal.type("\x10\n")  # Ctrl-P: the line before
        terminal.expect("get banana")
        terminal.expect("3\r\n> ")
        terminal.type("exit\n")
        terminal.expect("left")
        assert terminal.wait() == 0


def test_ctrl_c_on_a_terminal(tmp_path):
    with start(tmp_path, slow=True) as terminal:
        terminal.expect("> ")
        terminal.type("put a b\n")
        terminal.expect("(put waits)\r\n")
        terminal.type("\x03")
        terminal.expect("abandoned")
        terminal.expect("> ")
        terminal.type("get apple\n")
        terminal.expect("1\r\n> ")
        terminal.type("exit\n")
        terminal.expect("left")
        assert terminal.wait() == 0


def test_a_prompt_without_readline(tmp_path):
    with start(tmp_path, without_readline=True) as terminal:
        terminal.expect("> ")
        terminal.type("get apple\n")
        terminal.expect("1\r\n> ")
        terminal.type("\x04")
        terminal.expect("left")
        assert terminal.wait() == 0
    assert os.listdir(tmp_path) == []
