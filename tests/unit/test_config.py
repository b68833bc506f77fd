"""Ini files: every mistake gets one sentence that names file, section and option."""

from __future__ import annotations

import pathlib
import re

import pytest
from raftkv.config import Address, Limits, RaftOptions, load_client_config, load_server_config
from raftkv.errors import ConfigError
from raftkv.ini import new_folder

SERVER = """\
[node]
id = 2
data_dir = data/two
[servers]
1 = 10.0.0.1:7001
2 = 10.0.0.2:7001
3 = db3.example:7001
[peers]
1 = 10.0.0.1:7101
2 = 10.0.0.2:7101
3 = db3.example:7101
[auth]
client_key_file = client.key
peer_key_file = /etc/raftkv/peer.key
"""

CLIENT = """\
[servers]
1 = 127.0.0.1:7001
2 = 127.0.0.1:7002
[auth]
client_key_file = keys/client.key
"""

LOOPBACK = (
    SERVER.replace("10.0.0.1", "localhost")
    .replace("db3.example", "127.0.0.3")
    .replace("10.0.0", "127.0.0")
    .replace("/etc/raftkv/", "")
)


def write(folder: pathlib.Path, text: str) -> str:
    path = folder / "some.ini"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_a_server_config(tmp_path):
    config = load_server_config(write(tmp_path, SERVER))
    assert config.node_id == 2
    assert config.cluster == "raftkv"
    assert config.servers == {
        1: Address("10.0.0.1", 7001),
        2: Address("10.0.0.2", 7001),
        3: Address("db3.example", 7001),
    }
    assert str(config.peers[3]) == "db3.example:7101"
    assert config.raft == RaftOptions()
    assert config.limits == Limits()
    assert config.warnings == ()


def test_relative_paths_are_relative_to_the_file(tmp_path, monkeypatch):
    path = write(tmp_path, SERVER)
    monkeypatch.chdir("/")
    config = load_server_config(path)
    assert config.data_dir == str(tmp_path / "data" / "two")
    assert config.client_key_file == str(tmp_path / "client.key")
    assert config.peer_key_file == "/etc/raftkv/peer.key"


def test_a_client_config(tmp_path):
    config = load_client_config(write(tmp_path, CLIENT + "[client]\ntimeout_s = 2.5\n"))
    assert config.servers == {1: Address("127.0.0.1", 7001), 2: Address("127.0.0.1", 7002)}
    assert config.client_key_file == str(tmp_path / "keys" / "client.key")
    assert config.timeout_s == 2.5
    assert load_client_config(write(tmp_path, CLIENT)).timeout_s == 10.0


def test_options_are_read(tmp_path):
    text = "[raft]\nelection_timeout_ms = 900\nmax_raft_state = -1\n[limits]\nmax_connections = 7\n"
    config = load_server_config(write(tmp_path, SERVER + text))
    assert config.raft == RaftOptions(election_timeout_ms=900, max_raft_state=-1)
    assert config.limits == Limits(max_connections=7)


def test_the_files_in_conf_work_and_show_the_defaults():
    conf = pathlib.Path(__file__).resolve().parents[2] / "conf"
    configs = [load_server_config(conf / f"server{number}.ini") for number in (1, 2, 3)]
    assert [config.node_id for config in configs] == [1, 2, 3]
    assert len({config.data_dir for config in configs}) == 3
    assert {(tuple(c.servers.items()), tuple(c.peers.items()), c.client_key_file) for c in configs} == {
        (tuple(configs[0].servers.items()), tuple(configs[0].peers.items()), configs[0].client_key_file)
    }
    client = load_client_config(conf / "client.ini")
    assert client.servers == configs[0].servers
    assert client.client_key_file == configs[0].client_key_file


@pytest.mark.parametrize("number", [1, 2, 3])
def test_the_commented_options_in_conf_are_the_defaults(number, tmp_path):
    conf = pathlib.Path(__file__).resolve().parents[2] / "conf"
    text = (conf / f"server{number}.ini").read_text(encoding="utf-8")
    uncommented = re.sub(r"^# (\w+ = )", r"\1", text, flags=re.MULTILINE)
    assert uncommented.count("\nmax_") + uncommented.count("_ms = ") == 12
    config = load_server_config(write(tmp_path, uncommented))
    assert config.listen_clients == config.servers[number]
    assert config.listen_peers == config.peers[number]
    assert config.raft == RaftOptions()
    assert config.limits == Limits()
    assert config.cluster == "raftkv"


def test_a_server_that_joins_a_cluster_needs_its_own_lines_only_and_makes_no_keys(tmp_path):
    text = re.sub(r"^[13] = .*\n", "", SERVER, flags=re.MULTILINE) + "\n[cluster]\njoin = h:7101\n"
    config = load_server_config(write(tmp_path, text))
    assert config.join == ("h", 7101) and list(config.peers) == [2] and config.warnings == ()
    assert load_server_config(write(tmp_path, SERVER)).join is None
    local = re.sub(r"^2 = [^:]*:", "2 = 127.0.0.1:", text, flags=re.MULTILINE)
    with pytest.raises(ConfigError, match="no such key file"):
        load_server_config(write(tmp_path, local)).load_keys()
    for join, says in (("h", "join"), (str(config.peers[2]), "is this server itself: name a member")):
        with pytest.raises(ConfigError, match=says):
            load_server_config(write(tmp_path, text.replace("h:7101", join)))


def test_few_or_even_servers_are_a_warning(tmp_path):
    def warnings(count: int) -> tuple:
        text = re.sub(r"^([4-9]|[1-3]) = .*\n", "", SERVER.replace("id = 2", "id = 1"), flags=re.MULTILINE)
        for section, port in (("servers", 7000), ("peers", 7100)):
            lines = "".join(f"{i} = h:{port + i}\n" for i in range(1, count + 1))
            text = text.replace(f"[{section}]\n", f"[{section}]\n{lines}")
        return load_server_config(write(tmp_path, text)).warnings

    assert "tolerates no failure" in warnings(1)[0]
    assert "2 servers tolerate no more failures than 1 do: 0" in warnings(2)[0]
    assert "4 servers tolerate no more failures than 3 do: 1" in warnings(4)[0]
    assert warnings(3) == warnings(5) == ()


RAFT = SERVER + "[raft]\n"
LIMITS = SERVER + "[limits]\n"

MISTAKES = {
    "no section": ("id = 1\n", "line 1 comes before any [section]"),
    "not an option": (SERVER + "what is this\n", "line 15: neither a [section] nor option = value"),
    "missing section": (SERVER.replace("[peers]", "[servers2]"), "unknown section [servers2]"),
    "no auth": (SERVER.split("[auth]")[0], "section [auth] is missing"),
    "section twice": (SERVER + "[node]\n", "section [node] is given twice (again in line 15)"),
    "default section": (SERVER + "[DEFAULT]\nid = 1\n", "unknown section [DEFAULT]"),
    "option twice": (
        SERVER.replace("id = 2", "id = 2\nid = 3"),
        "[node] id: is given twice (again in line 3)",
    ),
    "unknown option": (
        RAFT + "hartbeat_interval_ms = 5",
        "[raft] hartbeat_interval_ms: unknown option; known",
    ),
    "unknown limit": (LIMITS + "connections = 5", "[limits] connections: unknown option; known are"),
    "unknown node option": (SERVER.replace("id = 2", "id = 2\nnmae = x"), "[node] nmae: unknown option"),
    "unknown auth option": (SERVER + "key = x", "[auth] key: unknown option"),
    "no id": (SERVER.replace("id = 2\n", ""), "[node] id: is missing"),
    "no data_dir": (SERVER.replace("data_dir = data/two\n", ""), "[node] data_dir: is missing"),
    "no key": (
        SERVER.replace("peer_key_file = /etc/raftkv/peer.key", ""),
        "[auth] peer_key_file: is missing",
    ),
    "empty value": (SERVER.replace("data/two", ""), "[node] data_dir: needs a value"),
    "two lines": (
        SERVER.replace("data/two", "data/two\n  more"),
        "[node] data_dir: needs a value, on one line",
    ),
    "id no number": (SERVER.replace("id = 2", "id = two"), "[node] id: must be a whole number from 1 to"),
    "id zero": (SERVER.replace("id = 2", "id = 0"), "[node] id: must be a whole number from 1 to"),
    "id unknown": (
        SERVER.replace("id = 2", "id = 4"),
        "[node] id: server 4 is not listed in [servers] (which has 1, 2, 3)",
    ),
    "server id": (SERVER.replace("3 = db3.example:7001", "x = h:1"), "[servers] x: a server's id must be"),
    "server id zero": (
        SERVER.replace("3 = db3.example:7001", "0 = h:1"),
        "[servers] 0: a server's id must be",
    ),
    "address twice, spelt differently": (
        LOOPBACK.replace("127.0.0.2:7001", "127.0.0.1:7001"),
        "[servers] 2: 127.0.0.1:7001 is listed twice",
    ),
    "server id of 5000 digits": (
        SERVER.replace("3 = db3.example:7001", "9" * 5000 + " = h:1"),
        f"[servers] {'9' * 5000}: a server's id must be",
    ),
    "listens for both on one port": (
        SERVER.replace("id = 2", "id = 2\nlisten_clients = 10.0.0.2:7101"),
        "[node] listen_clients: clients and peers cannot both connect to port 7101",
    ),
    "listens on one port of all addresses": (
        SERVER.replace("id = 2", "id = 2\nlisten_peers = 0.0.0.0:7001"),
        "[node] listen_peers: clients and peers cannot both connect to port 7001",
    ),
    "listens on a port only": (
        SERVER.replace("id = 2", "id = 2\nlisten_peers = 7001"),
        "[node] listen_peers: must be HOST:PORT",
    ),
    "an option behind a section": (
        SERVER.replace("[node]\nid = 2", "[node] id = 2"),
        "line 1 comes before any [section]",
    ),
    "a key among the data": (
        SERVER.replace("= client.key", "= data/two/client.key"),
        "[auth] client_key_file: must not be in data_dir",
    ),
    "an unknown home": (
        SERVER.replace("data/two", "~nobody-of-this-name/two"),
        "[node] data_dir: '~nobody-of-this-name/two' is no path",
    ),
    "a URL": (SERVER.replace("data/two", "file:///data"), "[node] data_dir: 'file:///data' is no path"),
    "server listed twice": (
        SERVER.replace("3 = db3.example:7001", "02 = h:1"),
        "[servers] 02: server 2 is listed twice",
    ),
    "address twice": (
        SERVER.replace("3 = db3.example:7001", "3 = 10.0.0.1:7001"),
        "[servers] 3: 10.0.0.1:7001 is listed twice",
    ),
    "no servers": (re.sub(r"\[servers\](\n\d.*){3}", "[servers]", SERVER), "[servers] is empty"),
    "peer missing": (SERVER.replace("3 = db3.example:7101\n", ""), "[servers] 3: has no line in [peers]"),
    "server missing": (SERVER.replace("3 = db3.example:7001\n", ""), "[peers] 3: has no line in [servers]"),
    "peer is a client address": (
        SERVER.replace("10.0.0.1:7101", "10.0.0.2:7001"),
        "[peers] 1: 10.0.0.2:7001 is already server 2's in [servers]",
    ),
    "no port": (SERVER.replace("10.0.0.1:7001", "10.0.0.1"), "[servers] 1: must be HOST:PORT"),
    "no host": (SERVER.replace("10.0.0.1:7001", ":7001"), "[servers] 1: must be HOST:PORT"),
    "port no number": (
        SERVER.replace("10.0.0.1:7001", "h:http"),
        "[servers] 1: must be a whole number from 1 to 65535",
    ),
    "port too large": (
        SERVER.replace("10.0.0.1:7001", "h:65536"),
        "[servers] 1: must be a whole number from 1 to 65535",
    ),
    "IPv6": (
        SERVER.replace("10.0.0.1:7001", "[::1]:7001"),
        "[servers] 1: [::1] is not supported: write a host name or an IPv4",
    ),
    "one key": (
        SERVER.replace("/etc/raftkv/peer.key", "client.key"),
        "[auth] peer_key_file: must be another file than client_key_file",
    ),
    "no number": (
        RAFT + "segment_bytes = 8 MiB",
        "[raft] segment_bytes: must be a whole number from 4096 to",
    ),
    "too small": (
        RAFT + "heartbeat_interval_ms = 0",
        "[raft] heartbeat_interval_ms: must be a whole number from 1",
    ),
    "hasty": (
        RAFT + "election_timeout_ms = 149",
        "[raft] election_timeout_ms: is 149, but must be at least 3 times",
    ),
    "log of nothing": (
        RAFT + "max_raft_state = 0",
        "[raft] max_raft_state: must be a number of bytes, or -1",
    ),
    "window": (
        RAFT + "max_inflight_bytes = 2000",
        "[raft] max_inflight_bytes: is 2000, but must be at least",
    ),
    "no connections": (
        LIMITS + "max_connections = 0",
        "[limits] max_connections: must be a whole number from 1",
    ),
    "no patience": (
        LIMITS + "handshake_timeout_ms = 5",
        "[limits] handshake_timeout_ms: must be a whole number",
    ),
}


NO_HOSTS = (".db2", "db..x", "x" * 70, "x" * 70 + ".org", "a." * 130 + "b", "http://db", "a/b", "a@b", "..")


@pytest.mark.parametrize("host", NO_HOSTS)
@pytest.mark.parametrize("line", ["1 = 10.0.0.1:7001", "1 = 10.0.0.1:7101", "id = 2"])
def test_a_host_that_dns_cannot_have_is_refused(tmp_path, line, host):
    option, port = (line[:1], line[-5:]) if line[0] == "1" else ("listen_peers", ":7101")
    new = f"{option} = {host}{port}" if line[0] == "1" else f"{line}\n{option} = {host}{port}"
    text = SERVER.replace(line, new)
    assert text != SERVER
    path = tmp_path / "server.ini"
    path.write_text(text)
    with pytest.raises(ConfigError, match=rf"\] {option}: .* is no host|\] {option}: .* is not supported"):
        load_server_config(path)


@pytest.mark.parametrize("host", ["db", "db.", "db_1.x-y.org", "bücher.example", "10.0.0.1"])
def test_a_host_that_dns_can_have_is_taken(tmp_path, host):
    path = tmp_path / "server.ini"
    path.write_text(SERVER.replace("10.0.0.1:7001", f"{host}:7001"), encoding="utf-8")
    assert load_server_config(path).servers[1].host == host


@pytest.mark.parametrize("text, message", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_in_a_server_file(text, message, tmp_path):
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_server_config(path)
    assert str(caught.value).startswith(f"{path}: {message}")
    assert "\n" not in str(caught.value)


ODD_VALUES = {
    "comment": "{} ; fast disk",
    "other comment": "{}\t# fast disk",
    "comment at once": "{}# fast",
    "comment of C": "{} // fast",
    "only a comment": "; {}",
    "quotes": '"{}"',
    "single quotes": "'{}'",
    "typographic quotes": "\u201c{}\u201d",
    "one quote": '{}"',
    "shell escape": "{}\\ x",
    "line that should go on": "{}\\",
    "variable": "$HOME/{}",
    "variable in braces": "${{HOME}}/{}",
    "command": "`pwd`/{}",
    "interpolation": "%(here)s/{}",
    "variable of Windows": "%APPDATA%/{}",
    "template": "{{{{ home }}}}/{}",
    "no-break space inside": "a\u00a0{}",
    "zero-width space": "{}\u200b",
    "tab inside": "a\t{}",
    "byte order mark": "\ufeff{}",
    "escape": "{}\x1b[0m",
    "two delimiters": "= {}",
    "continued": "{}\n more",
    "nothing": "",
}
VALUES = {
    "[node] id": "2",
    "[node] data_dir": "data/two",
    "[node] cluster": "c",
    "[node] listen_clients": "0.0.0.0:7001",
    "[servers] 2": "10.0.0.2:7001",
    "[peers] 2": "10.0.0.2:7101",
    "[auth] client_key_file": "client.key",
    "[auth] peer_key_file": "/etc/raftkv/peer.key",
    "[raft] heartbeat_interval_ms": "50",
    "[limits] max_connections": "50",
}


@pytest.mark.parametrize("odd", ODD_VALUES.values(), ids=ODD_VALUES)
def test_no_option_takes_a_comment_quotes_or_a_variable_for_its_value(odd, tmp_path):
    for place, value in VALUES.items():
        section, option = place.split()
        for delimiter in ("= ", " : "):
            line = f"{option} {delimiter}{odd.format(value)}"
            text = re.sub(rf"^{option} = .*", "", SERVER + "[raft]\n[limits]\n", flags=re.MULTILINE)
            path = write(tmp_path, text.replace(f"{section}\n", f"{section}\n{line}\n"))
            with pytest.raises(ConfigError) as caught:
                load_server_config(path)
            assert str(caught.value).startswith(f"{path}: {place}: "), line
            assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["$HOME/c", "'c'", "c # fast", "%APPDATA%/c", "`pwd`/c", "c\\"])
def test_a_new_folder_has_no_name_that_was_meant_for_a_shell(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="^--data-dir "):
        new_folder(name, "--data-dir")
    (tmp_path / name).mkdir(parents=True)
    assert new_folder(name, "--data-dir") == str(tmp_path / name), "one that is there was meant"


NUMBERS = [
    "5s",
    "50 ms",
    "1_000",
    "+50",
    "50.0",
    "5e1",
    "0x32",
    "\u0665\u0660",
    "true",
    "yes",
    "9" * 5000,
    "50,000",
]


@pytest.mark.parametrize("number", NUMBERS)
def test_a_number_is_digits_and_nothing_else(number, tmp_path):
    with pytest.raises(ConfigError, match=r"heartbeat_interval_ms: must be a whole number .* without a unit"):
        load_server_config(write(tmp_path, f"{RAFT}heartbeat_interval_ms = {number}\n"))
    if number != "50.0":
        with pytest.raises(ConfigError, match="timeout_s: must be a number of seconds"):
            load_client_config(write(tmp_path, f"{CLIENT}[client]\ntimeout_s = {number}\n"))


def test_odd_but_clear_lines_are_read(tmp_path):
    text = SERVER.replace("\n", " \t\r\n").replace("data_dir = data/two", "DATA_DIR:my data/\u00e9")
    text = text.replace("[node]", "; about\r\n[node] # ours")
    path = tmp_path / "some.ini"
    path.write_bytes(text.encode())
    assert load_server_config(path).data_dir == str(tmp_path / "my data" / "\u00e9")


def test_a_tilde_is_the_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    write(tmp_path, SERVER.replace("data/two", "~/two").replace("= client.key", "= ~/k/client.key"))
    config = load_server_config("~/some.ini")
    assert config.data_dir == str(tmp_path / "two")
    assert config.client_key_file == str(tmp_path / "k" / "client.key")


@pytest.mark.parametrize("steps", [1, 2])
def test_paths_are_relative_to_the_real_file(steps, tmp_path):
    real, path = tmp_path / "real" / "conf", tmp_path / "some.ini"
    real.mkdir(parents=True)
    for step in range(steps):
        (tmp_path / f"link{step}").symlink_to(
            tmp_path / f"link{step + 1}" if step + 1 < steps else real / "a.ini"
        )
    (real / "a.ini").write_text(SERVER.replace("data/two", "../two"))
    config = load_server_config(tmp_path / "link0")
    assert (config.data_dir, config.client_key_file) == (
        str(real.parent / "two"),
        str(real / "client.key"),
    )
    (real / "a.ini").write_text(CLIENT)
    assert load_client_config(tmp_path / "link0").client_key_file == str(real / "keys" / "client.key")
    assert not path.exists()


def test_a_relative_path_without_a_current_folder(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(ConfigError, match=r"some\.ini: the current folder is gone; give the whole path"):
        load_server_config("some.ini")
    assert load_server_config(write(tmp_path, SERVER)).node_id == 2


@pytest.mark.parametrize(
    "options, clients, peers",
    [
        ("", "10.0.0.2:7001", "10.0.0.2:7101"),
        ("listen_clients = 0.0.0.0\nlisten_peers = db2", "0.0.0.0:7001", "db2:7101"),
        ("listen_clients = 127.0.0.1:9\nlisten_peers = 127.0.0.1:8", "127.0.0.1:9", "127.0.0.1:8"),
    ],
)
def test_a_server_listens_on_its_own_address_or_on_what_it_is_told(options, clients, peers, tmp_path):
    config = load_server_config(write(tmp_path, SERVER.replace("id = 2", f"id = 2\n{options}")))
    assert (str(config.listen_clients), str(config.listen_peers)) == (clients, peers)
    assert config.warnings == ()


@pytest.mark.parametrize("address", ["0.0.0.0", "127.0.0.1", "127.0.1.1", "localhost"])
@pytest.mark.parametrize("section, port", [("servers", 7001), ("peers", 7101)])
def test_an_address_that_others_cannot_use_is_a_warning(address, section, port, tmp_path):
    text = SERVER.replace(f"10.0.0.2:{port}", f"{address}:{port}")
    (warning,) = load_server_config(write(tmp_path, text)).warnings
    assert warning.startswith(f"[{section}] 2: nobody on another machine can connect to {address}:{port}")
    assert load_server_config(write(tmp_path, LOOPBACK)).warnings == ()


@pytest.mark.parametrize("address", ["0.0.0.0", "0", "0.0.0.0."])
def test_an_address_of_no_machine_says_nothing_of_the_others(address, tmp_path):
    (warning,) = load_server_config(
        write(tmp_path, LOOPBACK.replace("127.0.0.2:7001", f"{address}:7001"))
    ).warnings
    assert warning.endswith(
        "write the address that others use, and [node] listen_clients = 0.0.0.0 to listen on all"
    )


CLIENT_MISTAKES = {
    "a server's file": (SERVER, "unknown section [node]; known are [auth], [client], [servers]"),
    "no servers": (CLIENT.split("[auth]")[1].join(["[auth]", ""]), "section [servers] is missing"),
    "no key": (CLIENT.replace("client_key_file = keys/client.key", ""), "[auth] client_key_file: is missing"),
    "unknown option": (
        CLIENT + "[client]\nretries = 1\n",
        "[client] retries: unknown option; known are timeout_s",
    ),
    "timeout no number": (
        CLIENT + "[client]\ntimeout_s = soon\n",
        "[client] timeout_s: must be a number of seconds",
    ),
    "timeout negative": (
        CLIENT + "[client]\ntimeout_s = -1\n",
        "[client] timeout_s: must be a number of seconds",
    ),
    "timeout nan": (
        CLIENT + "[client]\ntimeout_s = nan\n",
        "[client] timeout_s: must be a number of seconds",
    ),
}


@pytest.mark.parametrize("text, message", CLIENT_MISTAKES.values(), ids=CLIENT_MISTAKES)
def test_a_mistake_in_a_client_file(text, message, tmp_path):
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_client_config(path)
    assert str(caught.value).startswith(f"{path}: {message}")


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.ini: cannot read the configuration file: No such file"):
        load_server_config(tmp_path / "none.ini")
    with pytest.raises(ConfigError, match="cannot read the configuration file: Is a directory"):
        load_client_config(tmp_path)
    (tmp_path / "binary.ini").write_bytes(b"[node]\nid = \xff\xfe")
    with pytest.raises(ConfigError, match="not a text file in UTF-8"):
        load_server_config(tmp_path / "binary.ini")


def test_a_byte_order_mark_is_no_mistake(tmp_path):
    (tmp_path / "some.ini").write_text(SERVER, encoding="utf-8-sig")
    assert load_server_config(tmp_path / "some.ini").node_id == 2


def test_keys_are_made_if_all_addresses_are_loopback(tmp_path):
    config = load_server_config(write(tmp_path, LOOPBACK))
    client_key, peer_key = config.load_keys()
    assert client_key != peer_key
    assert config.load_keys() == (client_key, peer_key)


def test_keys_are_not_made_for_a_cluster_on_several_machines(tmp_path):
    config = load_server_config(write(tmp_path, SERVER))
    with pytest.raises(ConfigError, match=r"client\.key: no such key file.*make one: .*token_hex"):
        config.load_keys()
    one_remote = LOOPBACK.replace("127.0.0.2:7101", "192.168.0.2:7101")
    with pytest.raises(ConfigError, match="no such key file"):
        load_server_config(write(tmp_path, one_remote)).load_keys()


def test_two_files_with_one_key_are_refused(tmp_path):
    config = load_server_config(write(tmp_path, LOOPBACK))
    config.load_keys()
    (tmp_path / "peer.key").write_bytes((tmp_path / "client.key").read_bytes())
    with pytest.raises(ConfigError, match="hold the same key"):
        config.load_keys()


@pytest.mark.parametrize("data", ["data/two", "data/one", "other"])
@pytest.mark.parametrize("lost", ["client.key", "peer.key"])
def test_a_key_is_not_made_beside_data(data, lost, tmp_path):
    """Neither beside the server's own data nor beside that of its neighbours."""
    config = load_server_config(write(tmp_path, LOOPBACK))
    config.load_keys()
    (tmp_path / data).mkdir(parents=True)
    (tmp_path / data / "node.json").touch()
    config.load_keys()
    (tmp_path / lost).unlink()
    with pytest.raises(
        ConfigError, match=rf"{lost}: no such key file, but there is data already .*{data}\): put back"
    ):
        config.load_keys()
    assert not (tmp_path / lost).exists()
