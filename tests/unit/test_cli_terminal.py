"""What nodes print, beside a prompt that waits for input."""

from __future__ import annotations

import sys

from raftkv.cli import terminal
from raftkv.cli.terminal import NodeOutput


def test_without_a_terminal_lines_are_plain(capsys):
    output = NodeOutput(False)
    output.prompt = "> "
    output.show(2, "listens")
    assert capsys.readouterr() == ("", "[node 2] listens\n")


def test_each_node_has_a_colour(capsys, monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    output = NodeOutput(True)
    output.show(1, "one")
    output.show(7, "seven")
    assert capsys.readouterr().err == "\x1b[36m[node 1]\x1b[0m one\n\x1b[36m[node 7]\x1b[0m seven\n"
    monkeypatch.setenv("NO_COLOR", "1")
    NodeOutput(True).show(1, "one")
    assert capsys.readouterr().err == "[node 1] one\n"


def test_a_line_takes_the_place_of_the_prompt_which_follows_it(capsys, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    if terminal.readline is not None:
        monkeypatch.setattr(terminal.readline, "get_line_buffer", lambda: "get ke")
    output = NodeOutput(True)
    output.prompt = "> "
    output.show(1, "leads")
    typed = "get ke" if terminal.readline is not None else ""
    assert capsys.readouterr().err == f"\r\x1b[K[node 1] leads\n> {typed}"
    output.prompt = None
    output.show(1, "follows")
    assert capsys.readouterr().err == "[node 1] follows\n"


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
