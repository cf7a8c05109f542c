"""Cuts of every torchvision classifier and every timm family: what is told, and what is true.

    python -m benchmarks.zoo TABLE [--only REGEX] [--jobs 1] [--seconds 600] [--gigabytes 8]
    python -m benchmarks.zoo TABLE --show

From the repository's folder, with timm and ONNX. Weights are random, nothing is downloaded. Each
network is cut in a process of its own, by each scheme to 1.5x and 2x; TABLE/table.csv has a row for
each cut:

- `reported`, the speedup by the project's count, and `counted`, by torch's, which must agree
  within 1 % and reach what is `asked`;
- `exact`, the largest difference of the outputs with all ranks kept, as a share of the largest;
- `onnx`, the same between ONNX Runtime and the 2x channel cut.

`outcome` is `reached`, `refused` (out of reach), `failed` or `too large`; `reason` says why.
Rows that TABLE has are kept: delete a network's rows to measure it again.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.zoo_network import FIELDS, SCHEMES, SPEEDUPS, Row
from benchmarks.zoo_networks import members


def main() -> None:
    """Reads the command line, measures what is missing, prints the outcomes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path)
    parser.add_argument("--only", default="", help="a regular expression")
    parser.add_argument("--schemes", default=",".join(SCHEMES))
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=600.0, help="for each network")
    parser.add_argument("--gigabytes", type=float, default=8.0, help="for each network")
    parser.add_argument("--no-onnx", action="store_true")
    parser.add_argument("--show", action="store_true", help="print the outcomes alone")
    given = parser.parse_args()
    path = given.table / "table.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    if not given.show:
        if not path.exists():
            pd.DataFrame(columns=FIELDS).to_csv(path, index=False)
        done = set(pd.read_csv(path)["network"])
        missing = [n for n in members() if re.search(given.only, n) and n not in done]
        with ThreadPoolExecutor(given.jobs) as pool:
            for rows in pool.map(lambda name: measured(name, given), missing):
                pd.DataFrame(rows, columns=FIELDS).to_csv(path, mode="a", header=False, index=False)
                print(rows[0]["network"], *(row["outcome"] for row in rows), flush=True)
    table = pd.read_csv(path)
    print(table.groupby(["scheme", "asked", "outcome"]).size().unstack(fill_value=0).to_string())


def measured(name: str, given: argparse.Namespace) -> list[Row]:
    """A row per scheme and speedup, whatever becomes of the process."""
    command = [sys.executable, "-m", "benchmarks.zoo_network", name, "--schemes", given.schemes]
    command += ["--gigabytes", str(given.gigabytes)] + ([] if given.no_onnx else ["--onnx"])
    process = subprocess.Popen(  # noqa: S603  this Python, and a name of the list
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        told, trouble = process.communicate(timeout=given.seconds)
        ended = f"ended with {process.returncode}: {trouble.strip()[-200:]}"
    except subprocess.TimeoutExpired:
        process.kill()
        told, _ = process.communicate()
        ended = f"not done in {given.seconds:g} s"
    rows = [json.loads(line) for line in told.splitlines() if line.startswith("{")]
    if len(rows) == 1 and "scheme" not in rows[0]:  # not even built
        rows = [{**rows[0], **key} for key in _keys(given)]
    have = {(row["scheme"], row["asked"]) for row in rows}
    sizes = {k: rows[0].get(k) for k in ("pixels", "parameters", "macs")} if rows else {}
    rows += [
        {**sizes, "network": name, **key, "outcome": "too large", "reason": ended}
        for key in _keys(given)
        if (key["scheme"], key["asked"]) not in have
    ]
    return [{**row, "commit": _commit()} for row in rows]


def _keys(given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    for scheme in given.schemes.split(","):
        for asked in SPEEDUPS:
            yield {"scheme": scheme, "asked": asked}


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    found = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    return found.stdout.strip()


if __name__ == "__main__":
    main()
