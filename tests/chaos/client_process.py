"""A process of clients. Ends when its standard input does, so that it outlives nobody.

    python -m tests.chaos.client_process CLIENT.ini --name A --history FILE --asked FILE --began SECONDS --seed S

Each of its threads is one client.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
from pathlib import Path

from raftkv import Clerk

from tests.chaos.client import TIMEOUTS_S, Client
from tests.chaos.data_client import DataClient
from tests.chaos.recorder import Recorder
from tests.chaos.stubborn import Stubborn


def _watch_parent(stopping: threading.Event) -> None:
    while os.read(0, 4096):
        continue
    stopping.set()


def _clients(args: argparse.Namespace, shared: Clerk, recorder: Recorder) -> list[Client]:
    """Two that share a Clerk, two with one of their own, two stubborn readers, two stubborn writers."""
    clients: list[Client] = []
    for index in range(8):
        name = f"{args.name}{index}"
        seed = f"{args.seed} {name}"
        if index < 4:
            clerk = shared if index < 2 else None
            clients.append(Client(name, args.ini, clerk, recorder, args.began, seed))
        else:
            clients.append(Stubborn(name, args.ini, recorder, args.began, seed, reads=index < 6))
    return clients


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser("client_process", description="Clients for tests.chaos.")
    parser.add_argument("ini")
    parser.add_argument("--name", required=True)
    parser.add_argument("--history", required=True, type=Path)
    parser.add_argument("--asked", required=True, type=Path)
    parser.add_argument("--began", required=True, type=float)
    parser.add_argument("--seed", required=True)
    args = parser.parse_args(argv)
    stopping, errors = threading.Event(), []  # type: ignore[var-annotated]

    def run(client: Client | DataClient) -> None:
        try:
            client.run(stopping)
        except BaseException as error:
            errors.append(error)
            stopping.set()

    # The history line by line: an operation must be on record before it can have an effect.
    with (
        Clerk.from_config(args.ini, timeout=TIMEOUTS_S[-1]) as shared,
        open(args.history, "w", buffering=1, encoding="ascii") as file,
        open(args.asked, "w", buffering=1, encoding="ascii") as asked,
    ):
        clients: list[Client | DataClient] = [*_clients(args, shared, Recorder(file))]
        clients += [
            DataClient(name, args.ini, asked, f"{args.seed} {name}")
            for name in (f"{args.name}8", f"{args.name}9")
        ]
        threads = [threading.Thread(target=run, args=(client,)) for client in clients]
        for thread in threads:
            thread.start()
        threading.Thread(target=_watch_parent, args=(stopping,), daemon=True).start()
        for thread in threads:
            thread.join()
    if errors:
        raise errors[0]
    return 0


if __name__ == "__main__":
    sys.exit(main())
