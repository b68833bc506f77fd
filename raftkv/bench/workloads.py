"""Workload: what is measured. The named ones have the shapes in which other databases are measured, too."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping

from raftkv.client.window import WINDOW
from raftkv.errors import ConfigError
from raftkv.kvdb.limits import MAX_BATCH_OPS, MAX_REQUEST_BYTES

OPERATIONS = ("put", "get", "append", "cas", "scan", "mixed", "txn", "watch")
READ_SHARES = {"a": 0.5, "b": 0.95, "c": 1.0}  # of YCSB's workloads of these names
KEY_RANGE = "bench/000000 and the following"
_KEY_BYTES = 32  # at most, of the keys that keys.py makes
_WATCH_CONNECTIONS = 4
_MOST_PROCESSES = min(4, os.cpu_count() or 1)  # more would only take turns, and take them from the servers


@dataclasses.dataclass(frozen=True)
class Workload:
    """Clients that each send one operation after the other, on connections that they share. Those of "watch" are told of what one
    writer writes; see fanout.py.

    `connections` and `processes` of 0 are replaced by what suits the number of clients.
    """

    name: str
    op: str  # one of OPERATIONS
    clients: int = 1
    connections: int = 0
    processes: int = 0
    idle: int = 0  # connections more, of clients that only stay connected
    in_flight: int = 1  # requests that each client has under way
    batch: int = 1  # operations in one request
    value_size: int = 16  # bytes
    keys: int = 10_000
    seconds: float = 5.0  # of measurement
    warmup: float = 1.0  # seconds before it
    workload: str = "a"  # of "mixed": one of READ_SHARES
    scan_rows: int = 100  # that each scan reads
    load: bool = False  # write every key before, also if nothing is read
    kill_leader: bool = False  # after a third of the time

    def resolved(self) -> Workload:
        """Itself with numbers of connections and processes. Raises ConfigError for what makes no sense."""
        enough = -(-self.clients * self.in_flight // WINDOW)
        processes = self.processes or min(self.connections or self.clients, _MOST_PROCESSES)
        connections = self.connections or min(self.clients, max(processes, enough))
        if self.op == "watch":  # the writer waits for all of them
            processes, connections = (
                self.processes or 1,
                self.connections or min(self.clients, _WATCH_CONNECTIONS),
            )
        result = dataclasses.replace(self, connections=connections, processes=processes)
        result._check()
        return result

    @property
    def reads(self) -> bool:
        """Whether its operations count on every key being there."""
        return self.op in ("get", "cas", "scan", "mixed")

    @property
    def blocking(self) -> bool:
        """Whether each client is a thread. Else clients are callbacks, of which many cost little."""
        alone = self.clients == self.connections and self.in_flight == 1
        return alone or self.batch > 1 or self.op == "scan"

    def _check(self) -> None:
        if self.connections > self.clients:
            raise ConfigError(f"{self.connections} connections are too many for {self.clients} clients")
        if self.processes > self.connections:
            raise ConfigError(f"{self.processes} processes are too many for {self.connections} connections")
        under_way = -(-self.clients // self.connections) * self.in_flight
        if under_way > WINDOW:
            raise ConfigError(
                f"{under_way} requests under way on one connection; at most {WINDOW} can be: "
                "give more --connections, or less --in-flight"
            )
        if self.op == "watch" and (self.processes > 1 or self.in_flight > 1 or self.batch > 1):
            raise ConfigError(
                "watch takes neither --processes nor --in-flight nor --batch: one writer waits for all"
            )
        if self.in_flight > 1 and (self.batch > 1 or self.op == "scan"):
            raise ConfigError("--in-flight goes with neither --batch nor scan, which wait for their answers")
        if self.op in ("scan", "txn") and self.batch > 1:
            raise ConfigError(f"{self.op} takes no --batch; --scan-rows says how much a scan reads")
        values = 2 if self.op == "cas" else 1
        request_bytes = self.batch * (_KEY_BYTES + values * self.value_size)
        if self.batch > MAX_BATCH_OPS or request_bytes > MAX_REQUEST_BYTES:
            raise ConfigError(
                f"{self.batch} x {self.op} of {self.value_size} bytes does not fit into a request, "
                f"which takes {MAX_BATCH_OPS} operations and {MAX_REQUEST_BYTES} bytes"
            )


def _named(*workloads: Workload) -> Mapping[str, Workload]:
    return {workload.name: workload for workload in workloads}


#: Workloads that are known by a name alone.
PRESETS: Mapping[str, Workload] = _named(
    Workload("put1", "put", 1),
    Workload("put64", "put", 64),
    Workload("put256", "put", 256),
    Workload("inflight", "put", 2, processes=2, in_flight=1000),
    Workload("batch", "put", 16, batch=100),
    Workload("get1", "get", 1),
    Workload("get64", "get", 64),
    Workload("txn64", "txn", 64),
    Workload("watch1", "watch", 1),
    Workload("watch100", "watch", 100),
    Workload("watch1000", "watch", 1000),
    Workload("outage", "put", 1, seconds=8.0, kill_leader=True),
)


def find(name: str) -> Workload:
    """The preset, or the operation with a single client. Raises ConfigError for an unknown name."""
    if name in PRESETS:
        return PRESETS[name]
    if name in OPERATIONS:
        return Workload(name, name)
    known = ", ".join([*PRESETS, *OPERATIONS])
    raise ConfigError(f"no workload named {name!r}; there are {known}")


def changed(workload: Workload, options: dict[str, object]) -> Workload:
    """The workload with the options that are not None, resolved. Raises ConfigError."""
    given = {name: value for name, value in options.items() if value is not None}
    return dataclasses.replace(workload, **given).resolved()  # type: ignore[arg-type]
