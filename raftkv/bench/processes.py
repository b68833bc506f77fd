"""ClientProcesses: the processes in which the clients live, and the lines of JSON that go to and fro."""

from __future__ import annotations

import json
import queue
import subprocess
import threading
from collections.abc import Iterator
from typing import Any

from raftkv.bench.errors import BenchError
from raftkv.bench.load import Job
from raftkv.cli.interpreter import python_command


class ClientProcesses:
    """One process for each job. A context manager, at whose end they are gone. For one thread."""

    def __init__(self, jobs: list[Job]) -> None:
        self._jobs = jobs
        self._processes: list[subprocess.Popen[str]] = []
        self._readers: list[threading.Thread] = []
        self._arrived: queue.SimpleQueue[tuple[int, Any]] = queue.SimpleQueue()

    def __enter__(self) -> ClientProcesses:
        try:
            for number, job in enumerate(self._jobs):
                self._start(number, job)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
        for process, reader in zip(self._processes, self._readers):
            process.wait()
            reader.join()
            for pipe in (process.stdin, process.stdout):
                assert pipe is not None
                pipe.close()

    def wait_until_ready(self) -> None:
        """Until all are connected. Raises BenchError if one cannot be."""
        for _ in self._processes:
            _, message = self._next()
            if "failed" in message:
                raise BenchError(f"a client cannot use the cluster: {message['failed']}")

    def tell(self, message: dict[str, Any]) -> None:
        """All of them."""
        for process in self._processes:
            _write(process, json.dumps(message))

    def reports(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """(number of the process, report) until all are over. Raises BenchError."""
        left = len(self._processes)
        while left:
            number, report = self._next()
            left -= "over" in report
            yield number, report

    def _start(self, number: int, job: Job) -> None:
        process = subprocess.Popen(
            python_command("raftkv.bench.load"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for us alone: we print what was measured so far
        )
        reader = threading.Thread(target=self._read, args=(number, process), daemon=True)
        self._processes.append(process)
        self._readers.append(reader)
        reader.start()
        _write(process, job.to_json())

    def _read(self, number: int, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self._arrived.put((number, json.loads(line)))
        self._arrived.put((number, None))

    def _next(self) -> tuple[int, dict[str, Any]]:
        while True:
            number, message = self._arrived.get()
            if message is not None:
                return number, message
            status = self._processes[number].wait()
            if status:
                raise BenchError(f"a process of clients ended with exit status {status}: there is no result")


def _write(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    try:
        process.stdin.write(line + "\n")
        process.stdin.flush()
    except BrokenPipeError:
        raise BenchError("a process of clients has ended: there is no result") from None
