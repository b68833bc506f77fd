"""Clients whose every write can be accounted for afterwards.

Each appends the words `<client>.0;`, `<client>.1;`, … to keys that all share, a few to each: the database remembers
what a key held before. In the end each word must be there exactly once, and the words of each client in their order: a
lost acknowledged write is a gap, one that took effect twice is a repetition.
"""

from __future__ import annotations

import threading
from typing import Any, Callable

from raftkv import Clerk

from tests.cluster.harness import Cluster
from tests.cluster.waiting import wait_until

PREFIX = "words/"
WORDS = 20  # of a client to a key
PAUSE_S = 0.004  # between a client's words: the nodes under test need the processors more
FILLED_PAUSE_S = 0.04  # the same, with a filler


class Appenders:
    """`clients` threads that append until the context is left.

    `make_clerk` makes a client for each. With `filler_bytes` each also writes so many bytes into the log
    with each word, which change nothing; then words come slowly: snapshots hold the history of what changed, and
    come more seldom the larger they are. A context manager: on the way out it stops the clients, and raises what
    went wrong in them.
    """

    def __init__(self, make_clerk: Callable[[], Any], clients: int, filler_bytes: int = 0) -> None:
        self._make_clerk, self._filler = make_clerk, "x" * filler_bytes
        self._pause_s = FILLED_PAUSE_S if filler_bytes else PAUSE_S
        self.acknowledged: dict[int, int] = dict.fromkeys(range(clients), 0)
        self._stopping = threading.Event()
        self._errors: list[BaseException] = []
        self._threads = [
            threading.Thread(target=self._run, args=(client,), name=f"client-{client}")
            for client in self.acknowledged
        ]

    def __enter__(self) -> Appenders:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        if self._errors and error is None:
            raise self._errors[0]

    def end(self) -> None:
        """Let the clients end, before the context does."""
        self.__exit__(None, None, None)

    @property
    def total(self) -> int:
        """How many words were acknowledged."""
        return sum(self.acknowledged.values())

    def wait_for_more(self, words: int) -> None:
        """Wait until so many more words were acknowledged."""
        goal = self.total + words
        wait_until(lambda: self._errors or self.total >= goal, f"{words} more words to be acknowledged")
        if self._errors:
            raise self._errors[0]

    def _run(self, client: int) -> None:
        try:
            with self._make_clerk() as db:
                number = 0
                while not self._stopping.wait(self._pause_s):
                    db.append(f"{PREFIX}{number // WORDS:06d}", f"{client}.{number};")
                    number += 1
                    self.acknowledged[client] = number
                    if self._filler:
                        db.cas(PREFIX, self._filler, "")
        except BaseException as error:
            self._errors.append(error)

    def verify_everywhere(self, cluster: Cluster) -> None:
        """What clients read, and then what each node has on its own disk. The clients have ended, all nodes run."""
        cluster.wait_until_equal()
        with cluster.clerk() as db:
            self.verify(db)
        cluster.stop(*cluster.nodes)
        for id in cluster.nodes:
            self._verify(cluster.stored_data(id))

    def verify(self, db: Clerk) -> None:
        """What clients read, after all clients have ended."""
        self._verify({key: value for key, value, _ in db.scan(PREFIX)})

    def _verify(self, data: dict[str, str]) -> None:
        value = "".join(data[key] for key in sorted(data) if key.startswith(PREFIX))
        found: dict[int, list[int]] = {client: [] for client in self.acknowledged}
        for word in value.split(";")[:-1]:
            client, number = word.split(".")
            found[int(client)].append(int(number))
        for id, count in self.acknowledged.items():
            numbers = found[id]
            wrong = next((i for i, one in enumerate(numbers) if one != i), len(numbers))
            assert numbers == list(range(count)), (
                f"client {id}: {count} words were acknowledged and {len(numbers)} are there; the first "
                f"{wrong} are right, then come {numbers[wrong : wrong + 5]}"
            )
