"""The shapes of load that kvbench knows, and the combinations that it refuses."""

from __future__ import annotations

import pytest
from raftkv.bench import workloads
from raftkv.bench.run import _jobs
from raftkv.bench.workloads import PRESETS, Workload, changed, find
from raftkv.client.window import WINDOW
from raftkv.errors import ConfigError


@pytest.mark.parametrize("processors", [1, 2, 4])
@pytest.mark.parametrize(
    "clients, in_flight, connections",
    [(1, 1, 1), (3, 1, 3), (64, 1, 4), (1024, 1, 4), (9, 1000, 9), (10_000, 1, 10)],
)
def test_a_process_for_each_processor_and_a_connection_for_each_process(
    clients, in_flight, connections, processors, monkeypatch
):
    """And as many connections more as must be, for no more than WINDOW requests can be under way on one."""
    monkeypatch.setattr(workloads, "_MOST_PROCESSES", processors)
    resolved = Workload("put", "put", clients, in_flight=in_flight).resolved()
    needed = -(-clients * in_flight // WINDOW)
    assert resolved.processes == min(clients, processors)
    assert resolved.connections == max(needed, min(connections, processors))


@pytest.mark.parametrize("connections, processes", [(1, 1), (8, 2)])
def test_connections_that_are_given_bound_the_processes(connections, processes, monkeypatch):
    monkeypatch.setattr(workloads, "_MOST_PROCESSES", 2)
    resolved = Workload("put", "put", 64, connections=connections).resolved()
    assert (resolved.connections, resolved.processes) == (connections, processes)


@pytest.mark.parametrize("options", [{"clients": 64}, {"clients": 10, "connections": 7, "processes": 3}])
def test_every_client_and_every_connection_goes_to_one_process(options):
    workload = Workload("put", "put", **options).resolved()
    dealt = [job.clients for job in _jobs("client.ini", workload, 0, 0.25, 4)]
    assert len(dealt) == workload.processes
    assert sum(map(len, dealt)) == workload.connections
    assert sum(map(sum, dealt)) == workload.clients
    shares = [clients for clients_of_process in dealt for clients in clients_of_process]
    assert max(shares) - min(shares) <= 1


def test_idle_clients_have_a_process_of_their_own():
    jobs = _jobs("client.ini", Workload("put", "put", clients=2, idle=1000).resolved(), 0, 0.25, 4)
    assert [(job.clients, job.idle) for job in jobs] == [([1], 0), ([1], 0), ([], 1000)]


def test_the_named_workloads_have_the_shapes_in_which_etcd_is_measured():
    shapes = {
        name: (one.op, one.clients, one.in_flight, one.batch)
        for name, one in ((name, preset.resolved()) for name, preset in PRESETS.items())
    }
    assert shapes["put1"] == ("put", 1, 1, 1)
    assert shapes["put64"] == ("put", 64, 1, 1)
    assert shapes["put256"] == ("put", 256, 1, 1)
    assert shapes["batch"] == ("put", 16, 1, 100)
    assert shapes["get64"] == ("get", 64, 1, 1)
    assert shapes["txn64"] == ("txn", 64, 1, 1)
    assert shapes["watch1000"] == ("watch", 1000, 1, 1) and PRESETS["watch1000"].resolved().processes == 1
    assert PRESETS["outage"].kill_leader


def test_options_change_a_named_workload():
    workload = changed(find("put64"), {"value_size": 1024, "clients": None, "seconds": 1.0})
    assert (workload.clients, workload.value_size, workload.seconds) == (64, 1024, 1.0)


@pytest.mark.parametrize(
    "name, options, words",
    [
        ("put2", {}, "no workload named 'put2'"),
        ("put", {"clients": 2, "connections": 3}, "3 connections are too many for 2 clients"),
        (
            "put",
            {"clients": 4, "connections": 2, "processes": 3},
            "3 processes are too many for 2 connections",
        ),
        ("put64", {"connections": 8, "in_flight": 200}, "1600 requests under way on one connection"),
        ("batch", {"in_flight": 2}, "--in-flight goes with neither"),
        ("scan", {"in_flight": 2}, "--in-flight goes with neither"),
        ("scan", {"batch": 2}, "scan takes no --batch"),
        ("txn64", {"batch": 2}, "txn takes no --batch"),
        ("watch100", {"processes": 2}, "watch takes neither --processes"),
        ("put", {"value_size": 1_700_000}, "does not fit into a request"),
        ("cas", {"value_size": 850_000}, "does not fit into a request"),
        ("batch", {"value_size": 20_000}, "does not fit into a request"),
        ("put", {"batch": 10_001}, "does not fit into a request"),
    ],
)
def test_a_workload_that_makes_no_sense_is_refused_in_words(name, options, words):
    with pytest.raises(ConfigError, match=words):
        changed(find(name), options)
