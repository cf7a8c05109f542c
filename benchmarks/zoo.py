"""Cuts of every torchvision classifier and every timm family: what is told, and what is true.

    python -m benchmarks.zoo TABLE [--only REGEX] [--seconds 300] [--gigabytes 8]
    python -m benchmarks.zoo TABLE --onnx [--only REGEX]
    python -m benchmarks.zoo TABLE --show

From the repository's folder, with timm and ONNX. Weights are random, nothing is downloaded. Each
network is cut in a process of its own. TABLE/table.csv has a row for each cut, by each scheme to
1.5x and 2x:

- `reported`, the speedup by the project's count, and `counted`, by torch's, which must agree
  within 1 % and reach what is `asked`;
- `exact`, the largest difference of the outputs with all ranks kept, as a share of the largest;
  in double precision where single precision's rounding, the deeper the more, is over 0.001.

With `--onnx`, TABLE/onnx.csv has a row for each network, with the same difference between ONNX
Runtime and the network after one cut. An `outcome` is `reached`, `refused` (out of reach),
`failed` or `too large`; `reason` says why. Rows that a table has are kept: delete those of a
network to measure it again.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib
import multiprocessing
import re
import signal
import subprocess
from pathlib import Path

import pandas as pd

from benchmarks.zoo_network import SCHEMES, SPEEDUPS, Row, work
from benchmarks.zoo_networks import members

FIELDS = {
    "table": (
        *("network", "scheme", "asked", "outcome", "reported", "counted", "exact", "pixels"),
        *("parameters", "macs", "cut", "layers", "seconds", "commit", "reason"),
    ),
    "onnx": ("network", "outcome", "scheme", "asked", "unlike", "seconds", "commit", "reason"),
}


def main() -> None:
    """Reads the command line, measures what is missing, prints the outcomes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path)
    parser.add_argument("--only", default="", help="a regular expression")
    parser.add_argument("--schemes", default=",".join(SCHEMES))
    parser.add_argument("--onnx", action="store_true", help="export one cut of each network")
    parser.add_argument("--seconds", type=int, default=300, help="of CPU for each network")
    parser.add_argument("--gigabytes", type=float, default=8.0, help="for each network")
    parser.add_argument("--show", action="store_true", help="print the outcomes alone")
    given = parser.parse_args()
    path = given.table / f"{'onnx' if given.onnx else 'table'}.csv"
    fields = FIELDS[path.stem]
    _commit()
    for library in ("timm", "torchvision.models"):
        importlib.import_module(library)  # seconds, which each process would take
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        pd.DataFrame(columns=fields).to_csv(path, index=False)
    # The first scheme of all networks comes before the second of any.
    for scheme in [] if given.show else ["channel"] if given.onnx else given.schemes.split(","):
        for name in members():
            if re.search(given.only, name) and not _has(pd.read_csv(path), name, scheme):
                rows = measured(name, scheme, given)
                found = pd.DataFrame(rows, columns=fields)
                found.to_csv(path, mode="a", header=False, index=False)
                print(name, scheme, *(row["outcome"] for row in rows), flush=True)
    keys = ["outcome"] if given.onnx else ["scheme", "asked", "outcome"]
    print(pd.read_csv(path).groupby(keys).size().to_string())


def measured(name: str, scheme: str, given: argparse.Namespace) -> list[Row]:
    """A row per cut, whatever becomes of the process."""
    context = multiprocessing.get_context("fork")
    receiving, sending = context.Pipe(duplex=False)
    limits = {"seconds": given.seconds, "gigabytes": given.gigabytes}
    child = context.Process(
        target=work, args=(sending, name, scheme), kwargs={"onnx": given.onnx, **limits}
    )
    child.start()
    sending.close()
    rows: list[Row] = []
    with contextlib.suppress(EOFError):
        while True:
            rows.append(receiving.recv())
    child.join()
    slow = child.exitcode == -signal.SIGXCPU
    ended = f"not done in {given.seconds} s" if slow else f"needs over {given.gigabytes:g} GB"
    lost = {"scheme": scheme, "outcome": "too large", "reason": ended}
    for asked in SPEEDUPS[-1:] if given.onnx else SPEEDUPS:
        if asked not in [row["asked"] for row in rows] and not (given.onnx and rows):
            rows.append({"asked": asked, **lost})
    return [{"network": name, **row, "commit": _commit()} for row in rows]


def _has(table: pd.DataFrame, name: str, scheme: str) -> bool:
    return bool(((table["network"] == name) & (table["scheme"] == scheme)).any())


@functools.cache
def _commit() -> str:
    """That of the code at the start."""
    command = ["git", "describe", "--always"]
    found = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    return found.stdout.strip()


if __name__ == "__main__":
    main()
