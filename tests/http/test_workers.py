"""Workers: what waits is done by few threads."""

import threading

from raftkv.http.workers import MAX_WORKERS, Workers

WAIT_S = 10


def test_jobs_are_done_by_a_bounded_number_of_threads_which_are_used_again():
    workers, lock, release, done = Workers(), threading.Lock(), threading.Event(), threading.Semaphore(0)
    seen, busy = set(), []

    def job():
        with lock:
            seen.add(threading.get_ident())
            busy.append(1)
            if len(busy) == MAX_WORKERS:
                full.set()
        release.wait(WAIT_S)
        done.release()

    full = threading.Event()
    for _ in range(3 * MAX_WORKERS):
        workers.do(job)
    assert full.wait(WAIT_S)
    assert len(busy) == MAX_WORKERS
    release.set()
    for _ in range(3 * MAX_WORKERS):
        assert done.acquire(timeout=WAIT_S)
    assert len(seen) == MAX_WORKERS
