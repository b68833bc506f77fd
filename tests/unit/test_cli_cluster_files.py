"""The folder of a local cluster: written once, used again, refused if it is not what was asked for."""

from __future__ import annotations

import os
import pathlib
import socket

import pytest
from raftkv.cli.cluster_files import FREE_PORTS, HOST, locked, prepare_folder, wait_until_unused
from raftkv.config import load_client_config, load_server_config
from raftkv.errors import ConfigError, LockedError
from raftkv.storage.persister import Persister


def configs(files):
    return [load_server_config(path) for path in files.server_inis.values()]


def test_a_new_cluster(tmp_path):
    folder = str(tmp_path / "new" / "cluster")
    files = prepare_folder(folder)
    assert sorted(os.listdir(folder)) == ["client.ini", "server1.ini", "server2.ini", "server3.ini"]
    assert list(files.server_inis) == [1, 2, 3]
    servers = configs(files)
    assert [config.node_id for config in servers] == [1, 2, 3]
    assert [config.data_dir for config in servers] == [
        os.path.join(folder, f"server{node}") for node in (1, 2, 3)
    ]
    assert all(
        config.servers == servers[0].servers and config.peers == servers[0].peers for config in servers
    )
    client = load_client_config(files.client_ini)
    assert client.servers == servers[0].servers
    assert client.client_key_file == servers[0].client_key_file == os.path.join(folder, "client.key")
    ports = [address.port for address in (*servers[0].servers.values(), *servers[0].peers.values())]
    assert len(set(ports)) == 6
    assert all(port in FREE_PORTS for port in ports)


def test_ports_from_a_given_one(tmp_path, monkeypatch):
    monkeypatch.setattr("raftkv.cli.cluster_files._is_in_use", lambda address: False)
    config = configs(prepare_folder(str(tmp_path), 5, 7001))[0]
    assert [address.port for address in config.servers.values()] == [7001, 7002, 7003, 7004, 7005]
    assert [address.port for address in config.peers.values()] == [7006, 7007, 7008, 7009, 7010]
    with pytest.raises(
        ConfigError, match="3 servers need the ports 65531 to 65536, but 65535 is the last one"
    ):
        prepare_folder(str(tmp_path / "other"), 3, 65531)
    assert not (tmp_path / "other").exists()


def test_ports_in_use_are_not_free(tmp_path, monkeypatch):
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        listener.listen()
        used = listener.getsockname()[1]
        monkeypatch.setattr("raftkv.cli.cluster_files.FREE_PORTS", range(used, used + 1))
        with pytest.raises(ConfigError, match="2 free ports are needed"):
            prepare_folder(str(tmp_path), 1)


def test_an_existing_cluster_is_used_again(tmp_path):
    files = prepare_folder(str(tmp_path), 1)
    paths = [pathlib.Path(path) for path in (files.client_ini, *files.server_inis.values())]
    before = [path.read_text() for path in paths]
    (tmp_path / "server1").mkdir()
    assert prepare_folder(str(tmp_path)) == files
    assert prepare_folder(str(tmp_path), 1) == files
    assert before == [path.read_text() for path in paths]


def test_an_existing_cluster_must_be_what_is_asked_for(tmp_path):
    folder = str(tmp_path)
    prepare_folder(folder, 3, 7001)
    assert prepare_folder(folder, 3, 7001).server_inis
    with pytest.raises(ConfigError, match="holds a cluster of 3 servers, not 5: leave out --nodes"):
        prepare_folder(folder, 5)
    with pytest.raises(
        ConfigError, match="holds a cluster with ports from 7001 on, not 8001: leave out --port"
    ):
        prepare_folder(folder, None, 8001)


def test_ini_files_that_contradict_each_other_are_refused(tmp_path):
    folder = str(tmp_path)
    second = pathlib.Path(prepare_folder(folder, 3, 7001).server_inis[2])
    text = second.read_text()
    second.write_text(text.replace("id = 2", "id = 1"))
    with pytest.raises(ConfigError, match=r"server2\.ini: \[node\] id: must be 2 in this file, not 1"):
        prepare_folder(folder)
    second.write_text(text.replace(":7002", ":9002"))
    with pytest.raises(
        ConfigError, match=r"server2\.ini: \[servers\] 2: has another address than .*client\.ini"
    ):
        prepare_folder(folder)
    second.unlink()
    with pytest.raises(ConfigError, match=r"server2\.ini: cannot read the configuration file"):
        prepare_folder(folder)


def test_a_folder_with_other_things_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(
        ConfigError, match=r"holds 'thesis\.tex' and no cluster: give an empty or a new folder"
    ):
        prepare_folder(str(tmp_path))
    assert os.listdir(tmp_path) == ["thesis.tex"]
    with pytest.raises(ConfigError, match=r"thesis\.tex \(File exists\): --data-dir must be a folder"):
        prepare_folder(str(tmp_path / "thesis.tex"))


def test_a_lost_client_ini_is_written_again(tmp_path):
    files = prepare_folder(str(tmp_path))
    client_ini = pathlib.Path(files.client_ini)
    before = client_ini.read_text()
    (tmp_path / "client.key").touch()
    client_ini.unlink()
    assert prepare_folder(str(tmp_path)) == files
    assert client_ini.read_text() == before
    client_ini.unlink()
    (tmp_path / "server2.ini").unlink()
    with pytest.raises(ConfigError, match=r"holds server1\.ini .* no client\.ini and no server2\.ini: put"):
        prepare_folder(str(tmp_path))
    assert not client_ini.exists()


def test_a_set_up_that_was_cut_short_is_done_again(tmp_path):
    files = prepare_folder(str(tmp_path), 3)
    os.unlink(files.client_ini)
    os.unlink(files.server_inis[3])
    assert list(prepare_folder(str(tmp_path), 3).server_inis) == [1, 2, 3]


def test_a_folder_is_one_launchers(tmp_path):
    folder = str(tmp_path / "cluster")
    with locked(folder):
        assert list(prepare_folder(folder, 1).server_inis) == [1]
        with pytest.raises(
            LockedError, match=rf"cluster is in use by the launcher .* {os.getpid()}: use its"
        ):
            locked(folder).__enter__()
    with locked(folder):
        pass


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("file", "--data-dir must be a folder"),
        ("file/cluster", "--data-dir must be a folder"),
        ("link", "it is a link to .*nowhere, which is not there"),
    ],
)
def test_a_folder_that_cannot_be_used(name, advice, tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match=f"cannot read or write .*{name} .*: {advice}"):
        locked(str(tmp_path / name)).__enter__()


def test_nodes_of_an_earlier_launcher_are_waited_for_but_not_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr("raftkv.cli.cluster_files.ORPHAN_TIMEOUT_S", 0.0)
    files = prepare_folder(str(tmp_path), 3)
    wait_until_unused(files)
    data_dir = load_server_config(files.server_inis[2]).data_dir
    node = Persister(data_dir, node_id=2, cluster="raftkv")
    with pytest.raises(
        LockedError, match=f"node 2 runs already, as process {os.getpid()}, and not under this"
    ):
        wait_until_unused(files)
    node.close()
    wait_until_unused(files)
