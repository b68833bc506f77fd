"""python -m tests.chaos: run the chaos that the arguments describe, and print the verdict.

Exit status: 0 all is well; 1 it is not; 2 bad usage.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos.run import Run, processes_left


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        "tests.chaos", description="Real nodes, real clients, and every fault there is."
    )
    parser.add_argument(
        "--minutes", type=float, default=1.0, metavar="M", help="how long faults happen (default: 1)"
    )
    parser.add_argument("--nodes", type=int, default=5, choices=(3, 5, 7))
    parser.add_argument("--seed", type=int, default=None, help="of the plan of faults (default: a new one)")
    parser.add_argument("--keep", action="store_true", help="keep the folder also when all is well")
    args = parser.parse_args(argv)
    if args.minutes <= 0:
        parser.error("--minutes must be above 0")
    seed = random.SystemRandom().randrange(1 << 32) if args.seed is None else args.seed
    folder = Path(tempfile.mkdtemp(prefix="raftkv-chaos-"))
    print(f"{args.nodes} nodes, {args.minutes:g} minutes, seed {seed}, files in {folder}", flush=True)
    signal.signal(
        signal.SIGTERM, lambda number, _: sys.exit(128 + number)
    )  # what was started is ended then, too
    began = time.monotonic()
    report = Run(folder, args.minutes * 60, args.nodes, seed, lambda line: print(line, flush=True)).run()
    problems = report.problems + [f"process {pid} is left" for pid in processes_left(folder)]
    print(*report.lines, sep="\n")
    for problem in problems:
        print(f"PROBLEM: {problem}")
    if problems:
        again = f"python -m tests.chaos --minutes {args.minutes:g} --nodes {args.nodes} --seed {seed}"
        print(f"FAILED with seed {seed}; logs and histories are in {folder}; the same plan again: {again}")
        return 1
    flat = "resources flat" if report.compared else "not enough seen to tell whether resources are flat"
    took_s = time.monotonic() - began
    print(f"OK: linearizable, exactly once, no process left, {flat}; {took_s:.0f} s, seed {seed}")
    if args.keep:
        print(f"files are in {folder}")
    else:
        shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
