"""Files that are not what they should be, at random and many: what the tests try a few of.

    python -m benchmarks.fuzz [--examples 5000] [--kind run] [--seed 1]

From the repository's folder, with what the tests need installed. Spoils copies of a small space,
run and bundle, runs commands on them, and prints each fault once, with the fewest changes that show
it; the last line counts. Exit code 1 where there was a fault. The same seed tries the same.
"""

from __future__ import annotations

import argparse
import secrets
import tempfile
import time
from pathlib import Path

from tests.fuzz.fuzzer import KINDS, Fuzzer
from tests.fuzz.samples import make_all

SHARES = {"space": 0.3, "run": 0.4, "bundle": 0.225, "whole": 0.075}


def explored(fuzzer: Fuzzer, kind: str, examples: int, seed: int) -> int:
    """Prints every fault found by that many examples and returns how many there were."""
    known: list[str] = []
    end = fuzzer.used + examples
    while (left := end - fuzzer.used) > 0:
        faults = fuzzer.faults(kind, examples=left, first=seed + fuzzer.used, known=known)
        for fault in faults:
            print(f"{fault}\n", flush=True)
            known.append(fault.complaint)
        if not faults:
            break
    return len(known)


def main() -> int:
    """Runs the program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=5000)
    parser.add_argument("--kind", choices=KINDS, action="append")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**31))
    given = parser.parse_args()
    kinds = given.kind or KINDS
    total = sum(SHARES[kind] for kind in kinds)
    began, faults = time.perf_counter(), 0
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "spoiled").mkdir()
        fuzzer = Fuzzer(samples=make_all(place / "samples"), place=place / "spoiled")
        for kind in kinds:
            examples = max(1, round(given.examples * SHARES[kind] / total))
            faults += explored(fuzzer, kind, examples, given.seed)
    seconds = time.perf_counter() - began
    print(f"seed {given.seed}: {fuzzer.used} examples, {faults} faults, {seconds:.0f} s")
    return 1 if faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
