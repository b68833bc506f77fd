"""What a client asks for next, and how it waits for the answer."""

from __future__ import annotations

import random
from typing import Any, Callable

from raftkv import Clerk
from raftkv.bench.errors import WrongAnswerError
from raftkv.bench.keys import PREFIX, Chooser, key_name, uniform, zipfian
from raftkv.bench.workloads import READ_SHARES, Workload
from raftkv.client.encoding import Encoding
from raftkv.client.transaction import Transactions

Request = tuple[Any, ...]  # the name of a method of Clerk, and its arguments
Source = Callable[[], Request]
_MANY = 1 << 60


def source(workload: Workload, choose: Chooser, rng: random.Random) -> Source:
    """The endless sequence of one client's requests."""
    value = "x" * workload.value_size
    op = workload.op
    if op == "get":
        return lambda: ("get", key_name(choose()))
    if op == "cas":  # all keys hold that value, so that each one succeeds
        return lambda: ("cas", key_name(choose()), value, value)
    if op == "txn":  # the compare always holds
        t = Transactions(Encoding("utf-8"))

        def txn() -> Request:
            key = key_name(choose())
            return "transaction", [t.version(key) < _MANY], [t.put(key, value)], []

        return txn
    if op == "scan":
        return lambda: ("scan", PREFIX, key_name(choose()), workload.scan_rows)
    if op == "mixed":
        share, chance = READ_SHARES[workload.workload], rng.random
        return lambda: ("get", key_name(choose())) if chance() < share else ("put", key_name(choose()), value)
    return lambda: (op, key_name(choose()), value)


def chooser(workload: Workload, rng: random.Random) -> Chooser:
    """What decides which key is next."""
    return (zipfian if workload.op == "mixed" else uniform)(workload.keys, rng)


def blocking(clerk: Clerk, workload: Workload, next_request: Source) -> Callable[[], None]:
    """A function that carries out one request, of one operation or a batch, and waits for its answer.

    It raises what Clerk raises, and WrongAnswerError."""

    def one() -> None:
        name, *args = next_request()
        check(getattr(clerk, name)(*args))

    def many() -> None:
        batch = clerk.pipeline()
        for _ in range(workload.batch):
            name, *args = next_request()
            getattr(batch, name)(*args)
        for result in batch.execute():
            check(result)

    return one if workload.batch == 1 else many


def check(result: Any) -> None:
    """Raises WrongAnswerError for the answer that there is no such key, or that it holds another value."""
    if result is None:
        raise WrongAnswerError("a key that was written before is not there")
    if result is False:
        raise WrongAnswerError("a key does not hold the value that was written before")


def load_keys(clerk: Clerk, workload: Workload, show: Callable[[int], None]) -> None:
    """Write all keys of the workload; `show` is told again and again how many are written. Raises what Clerk
    raises."""
    value = "x" * workload.value_size
    at_once = max(1, min(1000, (1 << 20) // (workload.value_size + 100)))
    for first in range(0, workload.keys, at_once):
        show(first)
        batch = clerk.pipeline()
        for number in range(first, min(first + at_once, workload.keys)):
            batch.put(key_name(number), value)
        batch.execute()
    show(workload.keys)
