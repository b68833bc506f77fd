"""[http] in ini files."""

import pytest
from raftkv.config import load_server_config
from raftkv.errors import ConfigError
from raftkv.http_config import load_gateway_config

SERVER = (
    "[node]\nid = 1\ndata_dir = data\n[servers]\n1 = 10.0.0.1:7001\n[peers]\n1 = 10.0.0.1:7101\n"
    "[auth]\nclient_key_file = c.key\npeer_key_file = p.key\n"
)


def load(tmp_path, *lines):
    path = tmp_path / "gateway.ini"
    path.write_text(
        "\n".join(["[servers]", "1 = 127.0.0.1:7001", "[auth]", "client_key_file = c.key", "[http]", *lines])
    )
    return load_gateway_config(path).http


def test_loopback_may_be_open(tmp_path):
    http = load(tmp_path, "listen = 127.0.0.1:2379", "hosts = a.example b:80")
    assert (str(http.listen), http.hosts, http.password_file, http.warnings) == (
        "127.0.0.1:2379", ("a.example", "b:80"), "", (),
    )  # fmt: skip


def test_open_to_all_warns(tmp_path):
    assert "everybody" in load(tmp_path, "listen = 0.0.0.0:2379", "open = yes").warnings[0]


def test_password_file_is_relative_to_the_ini_file(tmp_path):
    http = load(tmp_path, "listen = 0.0.0.0:2379", "password_file = pw")
    assert http.password_file == str(tmp_path / "pw")


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["listen = 0.0.0.0:2379"], "set password_file, or open = yes"),
        (["listen = 10.0.0.1:2379", "open = no"], "set password_file, or open = yes"),
        (["listen = 127.0.0.1"], "must be HOST:PORT"),
        ([], "listen: is missing"),
        (["hosts = a"], "listen: is missing"),
        (["listen = 127.0.0.1:1", "open = maybe"], "must be yes or no"),
        (["listen = 127.0.0.1:1", "open = yes", "password_file = x"], "take one of them away"),
        (["listen = 127.0.0.1:1", "hosts = http://a"], "is no host"),
        (["listen = 127.0.0.1:1", "tls = yes"], "unknown option"),
    ],
)
def test_wrong_option_is_an_error_that_says_what_to_do(tmp_path, lines, words):
    with pytest.raises(ConfigError, match=words):
        load(tmp_path, *lines)


@pytest.mark.parametrize(
    ("listen", "address"), [("0.0.0.0:2379", "10.0.0.1:2379"), ("10.0.0.9:2379", "10.0.0.9:2379")]
)
def test_server_tells_the_others_where_its_front_is(tmp_path, listen, address):
    path = tmp_path / "server.ini"
    path.write_text(f"{SERVER}[http]\nlisten = {listen}\nopen = yes\n")
    config = load_server_config(path)
    assert config.http_address == address
    assert any("open" in warning for warning in config.warnings)


def test_section_of_a_server_without_options_is_an_error(tmp_path):
    path = tmp_path / "server.ini"
    path.write_text(f"{SERVER}[http]\n")
    with pytest.raises(ConfigError, match="listen: is missing"):
        load_server_config(path)


@pytest.mark.parametrize("listen", ["10.0.0.1:7101", "0.0.0.0:7001"])
def test_front_cannot_have_the_address_of_its_server(tmp_path, listen):
    path = tmp_path / "server.ini"
    path.write_text(f"{SERVER}[http]\nlisten = {listen}\nopen = yes\n")
    with pytest.raises(ConfigError, match="is an address of this server already"):
        load_server_config(path)
