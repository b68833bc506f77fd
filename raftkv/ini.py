"""Ini: a parsed ini file, its values checked, and errors that name file, section and option.

A value is taken as it is written, or refused: what looks as if somebody meant a comment, quotes or a variable
is never taken for a part of it. A path that is not the one that was meant would be a new, empty database.
"""

from __future__ import annotations

import configparser
import dataclasses
import os
import re
from collections.abc import Iterable
from typing import NamedTuple, Union

from raftkv.errors import ConfigError

PathLike = Union[str, "os.PathLike[str]"]

_MAX_FILE_CHARACTERS = 1 << 20
_MAX_LABEL, _MAX_HOST = 63, 253  # characters, says DNS
_WILDCARD = re.compile(r"0+(\.0+){0,3}")
_COMMENT = re.compile(r"[;#]|\s//")
_QUOTE = re.compile(r"[\"`]|^['\u2018\u201c\u00ab]|['\u2019\u201d\u00bb]$|\\(?: |$)")
_VARIABLE = re.compile(r"\$|%\(|%\w+%|\{\{")
_INTEGER = re.compile(r"-?[0-9]{1,20}")
_SECONDS = re.compile(r"[0-9]{1,20}(\.[0-9]*)?|\.[0-9]+")


class Address(NamedTuple):
    """Where a node listens, or is connected to. `host` is a name or an IPv4 address."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    def is_loopback(self) -> bool:
        """True if only processes of the same machine can connect to it. A name other than localhost may
        resolve to anything."""
        return re.fullmatch(r"127(\.[0-9]+){1,3}", self.plain().host) is not None

    def is_wildcard(self) -> bool:
        """True if it means every address of the machine: one to listen on, not one to connect to."""
        return _WILDCARD.fullmatch(self.plain().host) is not None

    def plain(self) -> Address:
        """The same address, spelt as every other spelling of it that can be known without a resolver."""
        host = self.host.lower().rstrip(".")
        return Address("127.0.0.1" if host == "localhost" else host, self.port)


def host_problem(host: str) -> str | None:
    """What is wrong with a host as no resolver could tell it: DNS has no such name. None: nothing."""
    if host != host.strip() or not host or " " in host:
        return "is no host"
    if "/" in host:
        return "is no host: write it without http:// or a path"
    if ":" in host:
        return "is not supported: write a host name or an IPv4 address; IPv6 is not supported"
    labels = host[:-1].split(".") if host.endswith(".") else host.split(".")
    if "" in labels:
        return "is no host: there is nothing before, or between, dots"
    try:
        ascii_host = host.encode("idna")
    except UnicodeError:
        ascii_host = b""
    if not re.fullmatch(rb"[\w.-]+", ascii_host):
        if max(map(len, labels)) > _MAX_LABEL:
            return f"is no host: between dots there are at most {_MAX_LABEL} characters"
        return "is no host: write letters, digits, hyphens and dots"
    if len(ascii_host) > _MAX_HOST:
        return f"is no host: it has more than {_MAX_HOST} characters"
    return None


class _Parser(configparser.ConfigParser):
    # All of the line: `[limits] max_connections = 3` would lose the option.
    SECTCRE = re.compile(r"\[(?P<header>[^]]+)\]\s*([;#].*)?$")


class Ini:
    """A parsed ini file whose sections are known to be the right ones. Every method raises ConfigError."""

    def __init__(self, path: PathLike, required: Iterable[str], optional: Iterable[str]) -> None:
        self.path = absolute(path)
        #: Relative paths begin here: in the folder of the file itself, if it is called by a link.
        self.folder = os.path.dirname(os.path.realpath(self.path))
        # An empty default section: [DEFAULT] is then an unknown section like any other.
        self._parser = _Parser(interpolation=None, default_section="")
        try:
            self._parser.read_string(_read(self.path))
        except configparser.Error as error:
            raise ConfigError(f"{self.path}: {_syntax_problem(error)}") from None
        self._check_sections(set(required), set(optional))

    def _check_sections(self, required: set[str], optional: set[str]) -> None:
        for section in self._parser.sections():
            if section not in required | optional:
                known = ", ".join(f"[{name}]" for name in sorted(required | optional))
                raise ConfigError(f"{self.path}: unknown section [{section}]; known are {known}")
        for section in sorted(required):
            if not self._parser.has_section(section):
                raise ConfigError(f"{self.path}: section [{section}] is missing")
        for section in self._parser.sections():
            for option, value in self._parser.items(section):
                problem = _value_problem(value)
                if problem:
                    raise self.error(section, option, problem)

    def error(self, section: str, option: str, problem: str) -> ConfigError:
        return ConfigError(f"{self.path}: [{section}] {option}: {problem}")

    def has(self, section: str) -> bool:
        """Is it there, perhaps without options?"""
        return self._parser.has_section(section)

    def options(
        self, section: str, required: Iterable[str] = (), optional: Iterable[str] = ()
    ) -> dict[str, str]:
        """The options of a section, with every required and no unknown one."""
        found = dict(self._parser.items(section)) if self._parser.has_section(section) else {}
        known = sorted({*required, *optional})
        for option in found:
            if option not in known:
                raise self.error(section, option, f"unknown option; known are {', '.join(known)}")
        for option in sorted(required):
            if option not in found:
                raise self.error(section, option, "is missing")
        return found

    def integer(self, section: str, option: str, text: str, minimum: int, maximum: int) -> int:
        value = int(text) if _INTEGER.fullmatch(text) else None
        if value is None or not minimum <= value <= maximum:
            raise self.error(
                section,
                option,
                f"must be a whole number from {minimum} to {maximum}, in digits without a unit, not {text!r}",
            )
        return value

    def integers(self, section: str, options_class: type) -> dict[str, int]:
        """The options of a section that is described by a dataclass of integers."""
        fields = {field.name: field.metadata for field in dataclasses.fields(options_class)}
        found = self.options(section, (), fields)
        return {
            name: self.integer(section, name, text, fields[name]["minimum"], fields[name]["maximum"])
            for name, text in found.items()
        }

    def seconds(self, section: str, option: str, text: str) -> float:
        value = float(text) if _SECONDS.fullmatch(text) else 0.0
        if not 0 < value <= 86_400:
            raise self.error(
                section,
                option,
                f"must be a number of seconds above 0, at most 86400, in digits without a unit, not {text!r}",
            )
        return value

    def file(self, section: str, option: str) -> str:
        """A path; a relative one is relative to the ini file's folder, and ~ is the user's home."""
        text = self._parser.get(section, option)
        # The file is UTF-8, whatever the locale makes of names of files.
        path = os.path.expanduser(os.fsdecode(text.encode()))
        if path.startswith("~") or "://" in path:
            raise self.error(section, option, f"{text!r} is no path, or one to a home that is not known")
        return os.path.normpath(os.path.join(self.folder, path))

    def addresses(self, section: str) -> dict[int, Address]:
        """A section of `ID = HOST:PORT` lines, by id."""
        result: dict[int, Address] = {}
        for option, text in self._parser.items(section):
            if not re.fullmatch(r"[0-9]{1,10}", option) or not 0 < int(option) < 1 << 31:
                raise self.error(section, option, "a server's id must be a whole number from 1 up")
            server = int(option)
            if server in result:
                raise self.error(section, option, f"server {server} is listed twice")
            address = self.address(section, option, text)
            if address.plain() in [other.plain() for other in result.values()]:
                raise self.error(section, option, f"{address} is listed twice")
            result[server] = address
        if not result:
            raise ConfigError(f"{self.path}: [{section}] is empty: list each server as ID = HOST:PORT")
        return dict(sorted(result.items()))

    def address(self, section: str, option: str, text: str, default_port: int | None = None) -> Address:
        """HOST:PORT, or only HOST if there is a default for the port."""
        if default_port is not None and ":" not in text and not text.isdigit():
            text = f"{text}:{default_port}"
        host, colon, port = text.rpartition(":")
        if not colon or not host or host != host.strip() or " " in host:
            raise self.error(section, option, f"must be HOST:PORT, such as 127.0.0.1:7001, not {text!r}")
        problem = host_problem(host)
        if problem:
            raise self.error(section, option, f"{host} {problem}")
        return Address(host, self.integer(section, option, port, 1, 65_535))


def absolute(path: PathLike) -> str:
    """Absolute, with the home in place of ~, which a shell leaves alone in `--config=~/client.ini`. Raises
    ConfigError."""
    text = os.fspath(path)
    expanded = os.path.expanduser(text)
    if not text or expanded.startswith("~"):
        raise ConfigError(f"{text!r} is no path, or one to a home that is not known")
    try:
        return os.path.abspath(expanded)
    except FileNotFoundError:
        raise ConfigError(f"{text}: the current folder is gone; give the whole path") from None


def new_folder(path: str, option: str) -> str:
    """absolute() of a folder that is made if it is not there. Raises ConfigError, also for the name of a new one that
    was not meant so: a variable that no shell has replaced, quotes, a comment."""
    folder = absolute(path)
    problem = _not_meant(path)
    if problem and not os.path.exists(folder):
        raise ConfigError(f"{option} {problem}")
    return folder


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8-sig") as file:
            text = file.read(_MAX_FILE_CHARACTERS)
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the configuration file: {error.strerror}") from None
    except ValueError:  # UnicodeDecodeError, or a NUL in the path
        raise ConfigError(f"{path}: not a text file in UTF-8") from None
    if "\0" in text or len(text) == _MAX_FILE_CHARACTERS:
        raise ConfigError(f"{path}: not an ini file in UTF-8")
    return text


def _value_problem(value: str) -> str | None:
    """What is wrong with the text of a value, whatever it is for. None: nothing."""
    if not value:
        return "needs a value, on one line"
    if "\n" in value:
        return "needs a value, on one line; a line that is indented continues the one before"
    problem = _not_meant(value)
    if problem:
        return problem
    if not value.isprintable():
        return f"{value!a} has a character that cannot be seen: write it anew"
    if value.startswith(("=", ": ")):
        return f"{value!r} begins with a second {value[0]!r}: write option = value"
    return None


def _not_meant(value: str) -> str | None:
    """What in it was meant for somebody else, such as a shell. None: nothing."""
    if _COMMENT.search(value):
        return f"{value!r} ends in a comment, it seems: write comments on lines of their own"
    if _QUOTE.search(value):
        return f"{value!r} is quoted, it seems: write the value without quotes or backslashes"
    if _VARIABLE.search(value):
        return f"{value!r} names a variable, and none are expanded here: write the value itself"
    return None


def _syntax_problem(error: configparser.Error) -> str:
    if isinstance(error, configparser.DuplicateOptionError):
        return f"[{error.section}] {error.option}: is given twice (again in line {error.lineno})"
    if isinstance(error, configparser.DuplicateSectionError):
        return f"section [{error.section}] is given twice (again in line {error.lineno})"
    if isinstance(error, configparser.MissingSectionHeaderError):
        return f"line {error.lineno} comes before any [section]"
    if isinstance(error, configparser.ParsingError):
        lines = ", ".join(str(number) for number, _ in error.errors)
        return f"line {lines}: neither a [section] nor option = value"
    return " ".join(str(error).split())
