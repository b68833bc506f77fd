"""What nodes print, above a prompt that waits for input, and what the user is typing there."""

from __future__ import annotations

import os
import sys
import textwrap

import pytest
from raftkv.cli import terminal
from raftkv.cli.terminal import NodeOutput

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def test_without_a_terminal_lines_are_as_they_are(capsys):
    NodeOutput(False).show(2, "listens\x1b")
    assert capsys.readouterr() == ("", "[node 2] listens\x1b\n")


def test_each_node_has_a_colour(capsys, monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    output = NodeOutput(True)
    output.show(1, "one\x1b[2J")
    output.show(7, "seven")
    assert capsys.readouterr().err == "\x1b[36m[node 1]\x1b[0m one\\e[2J\n\x1b[36m[node 7]\x1b[0m seven\n"
    monkeypatch.setenv("NO_COLOR", "1")
    NodeOutput(True).show(1, "one")
    assert capsys.readouterr().err == "[node 1] one\n"


def test_without_a_line_editor_the_last_lines_wait_until_the_line_is_entered(capsys, monkeypatch):
    monkeypatch.setattr(terminal, "MOST_WAITING", 2)
    monkeypatch.setattr(terminal, "LineEditor", lambda: (_ for _ in ()).throw(OSError("none here")))
    monkeypatch.setenv("NO_COLOR", "1")
    output = NodeOutput(True)
    with output.typing():
        for text in ("listens", "leads", "follows"):
            output.show(1, text)
        assert capsys.readouterr().err == ""
    assert capsys.readouterr().err == "[node 1] leads\n[node 1] follows\n"


def test_a_closed_terminal_does_not_stop_the_reader_of_a_nodes_output(monkeypatch):
    class Closed:
        written = 0

        def write(self, text):
            self.written += 1
            raise BrokenPipeError

    closed = Closed()
    monkeypatch.setattr(sys, "stderr", closed)
    NodeOutput(False).show(1, "anything")
    assert closed.written == 1


PROGRAM = textwrap.dedent(
    """
    import sys, threading
    sys.path.insert(0, {root!r})
    from raftkv.cli.terminal import NodeOutput

    output = NodeOutput(True)
    print("editor" if output._editor else "no editor")
    feed = threading.Thread(target=lambda: [output.show(1, line.rstrip()) for line in open(sys.argv[1])], daemon=True)
    feed.start()
    while True:
        try:
            with output.typing():
                line = input("> ")
        except KeyboardInterrupt:
            line = "Ctrl-C"
        except EOFError:
            break
        print(f"typed {{line}}\\n", end="")
    """
)


def test_lines_come_above_what_is_being_typed_which_stays_as_it_is(tmp_path):
    pytest.importorskip("pty", reason="no pseudo-terminals here")
    from tests.unit.terminal import Terminal

    os.mkfifo(tmp_path / "lines")
    program = [sys.executable, "-c", PROGRAM.format(root=ROOT), str(tmp_path / "lines")]
    with Terminal(program, str(tmp_path), "xterm") as screen, open(tmp_path / "lines", "w") as lines:
        if "no editor" in screen.expect("> "):
            pytest.skip("this readline cannot print above its line")
        screen.type("put k " + "x" * 50 + "\x02" * 20)  # twenty times to the left
        screen.expect_screen("> put k " + "x" * 30 + "|xx", "x" * 18)
        print("leads, in a line that is longer than the screen", file=lines, flush=True)
        wrapped = ["[node 1] leads, in a line that is longer", " than the screen"]
        screen.expect_screen(*wrapped, "> put k " + "x" * 30 + "|xx", "x" * 18)
        screen.type("Y")
        screen.expect_screen(*wrapped, "> put k " + "x" * 30 + "Y|x", "x" * 19)
        screen.type("\n")
        screen.expect_screen("typed put k " + "x" * 28, "xxYxx" + "x" * 18, "> |")
        screen.type("abc")
        screen.expect_screen("> abc|")
        for number in range(30):
            print(number, file=lines, flush=True)
        screen.type("\x03")  # Ctrl-C in the midst of them
        screen.expect("typed Ctrl-C")
        print("end", file=lines, flush=True)
        screen.expect_screen("[node 1] end", "> |")
        shown = [line[9:] for line in screen.screen.lines() if line.startswith("[node 1]")]
        assert shown[1:-1] == [str(number) for number in range(30)]
        screen.type("\x04")
        assert screen.wait() == 0
