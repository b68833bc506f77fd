"""Guard and Password: who is let in."""

import base64
import os

import pytest
from raftkv.errors import ConfigError
from raftkv.http.guard import Guard
from raftkv.http.password import TOKEN_S, Password, load_password
from raftkv.http.web.head import HttpError, parse_head
from raftkv.ini import Address

LOCAL = "127.0.0.1"


def check(guard, *fields, method="POST", local=LOCAL):
    """The status that a request with these fields is refused with; None if it is not."""
    lines = [f"{method} / HTTP/1.1", *fields]
    try:
        guard.check(parse_head("\r\n".join(lines).encode()), local)
    except HttpError as error:
        return error.status
    return None


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:2379", None), ("localhost:2379", None), ("LOCALHOST", None), ("127.0.0.1", None),
        ("[::1]:2379", None), ("kv.example.org:2379", None), ("balancer:80", None), ("balancer:81", 421),
        ("evil.example:2379", 421), ("10.0.0.1:2379", 421), ("127.0.0.1.evil.example", 421), ("localhost.evil", 421),
    ],
)  # fmt: skip
def test_host_must_be_a_name_of_this_server(host, status):
    guard = Guard(Address(LOCAL, 2379), ["kv.example.org", "balancer:80"])
    assert check(guard, f"Host: {host}") == status


def test_address_that_the_client_connected_to_is_a_name_but_localhost_is_none_there():
    guard = Guard(Address("0.0.0.0", 2379))
    assert check(guard, "Host: 10.0.0.1:2379", local="10.0.0.1") is None
    assert check(guard, "Host: localhost:2379", local="10.0.0.1") == 421


@pytest.mark.parametrize(
    ("method", "fields", "status"),
    [
        ("POST", ["Origin: http://localhost:2379"], None),
        ("POST", ["Origin: http://evil.example"], 403),
        ("GET", ["Origin: http://evil.example"], 403),
        ("POST", ["Origin: null"], 403),
        ("POST", ["Origin: http://localhost:80"], 403),
        ("POST", ["Sec-Fetch-Site: cross-site"], 403),
        ("POST", ["Sec-Fetch-Site: same-origin"], None),
        ("GET", ["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors"], 403),
        ("GET", ["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate"], None),
        ("POST", ["Referer: http://evil.example/x"], 403),
        ("POST", ["Referer: http://localhost:2379/x"], None),
        ("GET", ["Referer: http://evil.example/x"], None),
    ],
)
def test_request_of_a_browser_for_another_site_is_refused(method, fields, status):
    assert check(Guard(Address(LOCAL, 2379)), "Host: localhost:2379", *fields, method=method) == status


class Clock:
    now = 1_000_000.0

    def __call__(self):
        return self.now


def basic(name, password):
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


def test_token_counts_at_every_front_until_its_time_is_over():
    clock = Clock()
    fronts = [Password("correct horse", b"the key", clock) for _ in range(2)]
    token = fronts[0].token()
    assert all(front.admits(each) for front in fronts for each in (token, f"Bearer {token}"))
    assert not Password("another horse", b"the key", clock).admits(token)
    assert not Password("correct horse", b"another key", clock).admits(token)
    clock.now += TOKEN_S + 1
    assert not fronts[1].admits(token)


@pytest.mark.parametrize(
    "authorization",
    ["", "x", "9999999999.x.y", "..", "9999999999.aa." + "0" * 64, "é", basic("root", "wrong"), basic("other", "correct horse"),
     "Basic", "Basic $$$", "Basic " + base64.b64encode(b"\xff\xfe").decode()],
)  # fmt: skip
def test_authorization_that_is_neither_token_nor_password_is_refused(authorization):
    assert not Password("correct horse", b"the key").admits(authorization)


def test_basic_is_taken():
    assert Password("correct horse", b"the key").admits(basic("root", "correct horse"))


@pytest.mark.parametrize(("mode", "warnings"), [(0o600, 0), (0o640, 0), (0o644, 1)])
def test_password_that_everybody_can_read_is_warned_of(tmp_path, caplog, mode, warnings):
    path = tmp_path / "password"
    path.write_text("correct horse\n")
    path.chmod(mode)
    assert load_password(str(path)) == "correct horse"
    assert len(caplog.records) == warnings


def test_password_file_that_is_a_pipe_is_an_error_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "password")
    with pytest.raises(ConfigError, match="no file, but a pipe"):
        load_password(str(tmp_path / "password"))


@pytest.mark.parametrize("content", [None, b"", b"short\n", b"\xff\xfe not utf-8 at all"])
def test_password_file_without_a_password_is_an_error(tmp_path, content):
    path = tmp_path / "password"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match="password"):
        load_password(str(path))
