"""The prompt: lines, Ctrl-C, Tab, history; on a real pseudo-terminal where readline is what matters."""

from __future__ import annotations

import json
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


class Typed(Prompt):
    """A prompt at which these lines are typed; an exception stands for Ctrl-C or Ctrl-D. `prompts`: shown."""

    def __init__(self, clerk, *lines, as_json=False):
        super().__init__(clerk, COMMANDS, as_json=as_json)
        self.prompts = []
        self._lines = iter([*lines, EOFError])

    def read_line(self, prompt):
        self.prompts.append(prompt)
        line = next(self._lines)
        if not isinstance(line, str):
            raise line
        return line


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    monkeypatch.setattr(prompt, "readline", None)
    monkeypatch.setattr(prompt, "SLOW_ANSWER_S", float("inf"))


def test_lines(clerk, capsys):
    lines = [
        "get apple",
        "",
        "   ",
        "# no",
        "put b 'two words'",
        "get b none",
        "got",
        "get $'\\U110000'",
        "help status",
    ]
    Typed(clerk, *lines).run()
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        "1",
        "OK",
        "two words",
        "(nil)",
        "status",
        "    every server: role, term, progress, problems",
        "",
    ]
    assert err.splitlines() == [
        "error: unknown command 'got'; did you mean get?; `help` lists the commands",
        "error: $'\\U110000' has an escape that stands for no character",
    ]


def test_a_quotation_goes_on_at_the_next_line(clerk, capsys):
    shell = Typed(
        clerk,
        "put b 'two",
        '"lines',
        "' \\",
        "",
        'put c "x',
        EOFError,
        "put d $'y",
        KeyboardInterrupt,
        "get b c d",
    )
    shell.run()
    assert capsys.readouterr() == (
        'OK\n\n\ntwo\n"lines\n\n(nil)\n(nil)\n\n',
        "error: no closing quotation: \" is open; quote by shell rules, like 'two words'\n",
    )
    assert shell.prompts == ["> ", "'> ", "'> ", "\\> ", "> ", '"> ', "> ", "$'> ", "> ", "> "]


@pytest.mark.parametrize("line", ["exit", "quit", " exit ", EOFError])
def test_leaving(clerk, line):
    shell = Typed(clerk, line, "get apple")
    shell.run()
    assert shell.prompts == ["> "]


def test_ctrl_c_at_the_prompt_drops_the_line(clerk, capsys):
    Typed(clerk, KeyboardInterrupt, "get apple", KeyboardInterrupt, KeyboardInterrupt, "get banana").run()
    assert capsys.readouterr().out.split() == ["1", "3"]


def test_lines_that_are_pasted_at_once_are_commands_of_their_own(clerk, capsys):
    shell = Typed(clerk, "get apple\nget banana\nput c 'two\nlines'\n", "get c")
    shell.run()
    assert capsys.readouterr().out == "1\n3\nOK\ntwo\nlines\n\n"
    assert shell.prompts == ["> ", "> ", "> "]


def test_ctrl_c_drops_what_was_pasted(clerk, capsys):
    shell = Typed(clerk, "get apple\nget banana", KeyboardInterrupt)
    shell.run_one()
    shell.commands["get"] = shell.commands["get"]._replace(run=lambda *_: os.kill(os.getpid(), signal.SIGINT))
    shell.run()
    assert "3" not in capsys.readouterr().out


def test_the_end_of_options_may_stand_before_a_command(clerk, capsys):
    Typed(clerk, "-- get apple", "--", "-- exit").run()
    assert capsys.readouterr() == ("1\n", "")


def test_pasted_lines_that_may_be_meant_as_data_are_not_run(clerk, capsys):
    Typed(clerk, "put x -\nget banana", "get apple").run()
    out, err = capsys.readouterr()
    assert out == "1\n\n" and err.endswith("name a file; the lines pasted after it were not run\n")


def test_json(clerk, capsys):
    Typed(clerk, "get apple", "get", as_json=True).run()
    out, err = capsys.readouterr()
    assert json.loads(out) == {"key": "apple", "value": "1", "revision": 1}
    assert json.loads(err)["status"] == 2


def test_only_a_slow_answer_says_how_long_it_took(clerk, capsys, monkeypatch):
    shell = Typed(clerk, "get apple", "get apple")
    monkeypatch.setattr(prompt, "SLOW_ANSWER_S", float("inf"))
    shell.run_one()
    assert capsys.readouterr().out == "1\n"
    monkeypatch.setattr(prompt, "SLOW_ANSWER_S", 0.0)
    shell.run_one()
    assert re.fullmatch(r"1\n\(\d+\.\d\d s\)\n", capsys.readouterr().out)


def test_ctrl_c_abandons_the_command_only(clerk, capsys):
    clerk.gate.clear()

    def interrupt():
        clerk.waiting.wait()
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    shell = Typed(clerk, "put apple 9", "get apple")
    assert shell.run_one()
    thread.join()
    shell.run_one()
    out, err = capsys.readouterr()
    assert out == "(put waits)\n\n1\n", "the prompt goes on while the abandoned write still waits"
    assert err == "abandoned: the put may or may not take effect; read before you repeat it\n"


def test_an_abandonable_call_returns_raises_and_gives_up():
    assert call_abandonable(lambda: 7) == 7
    with pytest.raises(NotApplied, match="no leader"):
        call_abandonable(lambda: (_ for _ in ()).throw(NotApplied("no leader")))
    gate = threading.Event()
    with pytest.raises(TimeoutError):
        call_abandonable(gate.wait, timeout_s=0.01)
    gate.set()


def test_a_tab_does_not_wait_long_for_a_dead_cluster(clerk, monkeypatch):
    monkeypatch.setattr(prompt, "COMPLETION_TIMEOUT_S", 0.01)
    clerk.gate.clear()
    assert Prompt(clerk, COMMANDS).complete("get ap", 4) == []
    clerk.gate.set()
    clerk.failure = NotApplied("no leader")
    assert Prompt(clerk, COMMANDS).complete("get ap", 4) == []


# -- on a terminal -------------------------------------------------------------------------------------------

PROGRAM = textwrap.dedent(
    """
    import sys
    sys.path.insert(0, {root!r})
    if {without_readline}:
        sys.modules["readline"] = None
    from tests.unit.test_cli_prompt import Clerk
    from raftkv.cli.commands import COMMANDS
    from raftkv.cli import prompt
    from raftkv.cli.prompt import Prompt
    prompt.SLOW_ANSWER_S = float("inf")
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
        terminal.type("put k 'two\n")
        terminal.expect("'> ")
        terminal.type("lines\x16\x1b'\n")  # Ctrl-V takes the next one as it is
        terminal.expect("OK\r\n> ")
        terminal.type("get k\n")
        terminal.expect("two\r\nlines\\e\r\n> ")
        terminal.type("get banana\n")
        terminal.expect("3\r\n> ")
        terminal.type("\x04")
        terminal.expect("left")
        assert terminal.wait() == 0
    history = tmp_path / ".raftkv_history"
    assert history.read_text().splitlines() == ["get apple ", r"put k $'two\nlines\e'", "get k", "get banana"]
    assert stat.S_IMODE(history.stat().st_mode) == 0o600

    with start(tmp_path) as terminal:
        terminal.expect("> ")
        terminal.type("\x10\n")  # Ctrl-P: the line before
        terminal.expect("get banana")
        terminal.expect("3\r\n> ")
        terminal.type("exit\n")
        terminal.expect("left")
        assert terminal.wait() == 0


def test_a_line_that_the_locale_cannot_hold_is_only_missing_in_the_history(tmp_path, monkeypatch):
    monkeypatch.setenv("LC_ALL", "C")
    with start(tmp_path) as terminal:
        terminal.expect("> ")
        terminal.type("put k \u00fc\n")
        terminal.expect("OK\r\n> ")
        terminal.type("get k\n")
        terminal.expect("\u00fc\r\n> ")
        terminal.type("exit\n")
        terminal.expect("left")


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
