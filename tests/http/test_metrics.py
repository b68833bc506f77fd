"""The text of /metrics, of what a server says of itself."""

from raftkv.histogram import NETWORK_S, Histogram
from raftkv.http.metrics import metrics_of


def text_of(front, **changes):
    own = {**front.front.view.own, **changes}
    return metrics_of(own, 3, {200: 5}).splitlines()


def test_round_trips_are_a_histogram_for_each_peer(front):
    front.ask("/metrics")
    observed = Histogram(NETWORK_S)
    for seconds in (0.00005, 0.00015, 100.0):
        observed.observe(seconds)
    peers = [{"id": 2, "sent_bytes": 70, "waiting_bytes": 8, "round_trips": observed.plain()}]
    lines = text_of(front, peers=peers)
    name = "etcd_network_peer_round_trip_time_seconds"
    buckets = [line for line in lines if line.startswith(f'{name}_bucket{{To="2",le=')]
    assert buckets[0] == f'{name}_bucket{{To="2",le="0.0001"}} 1'
    assert buckets[1] == f'{name}_bucket{{To="2",le="0.0002"}} 2'
    assert buckets[-2:] == [f'{name}_bucket{{To="2",le="3.2768"}} 2', f'{name}_bucket{{To="2",le="+Inf"}} 3']
    assert {f'{name}_sum{{To="2"}} 100.000200', f'{name}_count{{To="2"}} 3'} < set(lines)
    assert 'etcd_network_peer_sent_bytes_total{To="2"} 70' in lines
    assert 'raftkv_queue_bytes{queue="peers"} 8' in lines


def test_unknown_value_has_no_sample(front):
    front.ask("/metrics")
    samples = {line.partition(" ")[0] for line in text_of(front, snapshot_age_s=None, resident_bytes=None)}
    assert not samples & {"raftkv_snapshot_age_seconds", "process_resident_memory_bytes"}
    assert {
        "raftkv_mutex_wait_seconds_count",
        'raftkv_queue_bytes{queue="disk"}',
        "process_cpu_seconds_total",
    } < samples
