"""Promised and delivered speedups: ranks by multiply-adds against ranks by measured time.

    python -m benchmarks.clock run OUT [--only REGEX] [--seconds 1]
    python -m benchmarks.clock show OUT

From the repository's folder, on a machine that does nothing else. ResNet-18, MobileNet-V2 and
ResNet-50 at 224 pixels with random weights, so that time alone is told. OUT/table.csv has a row for
each network, target, speedup and rule; each network is timed in turn with the dense one:

- `promised`, the speedup that was asked for, and `delivered` on the clock, from `low` to `high`;
- `fewer`, times fewer multiply-adds;
- `table`, what the table of single layers promised for this network, corrected by the networks
  that earlier rows of the rule `time` had timed on the target;
- `timed`, how many networks the rule timed until it kept to the speedup.

Every layer takes channel or spatial pairs or stays dense. OUT/times keeps what single layers save:
the first row of a network on a target times them, for minutes. Rows that the table has are kept.

What it costs in accuracy: `benchmarks/clock_trained.py`.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from benchmarks.resnet20 import commit
from trp_search.errors import InputError
from trp_search.lowrank.analysis import Analysis, analyse
from trp_search.lowrank.schemes import SCHEMES
from trp_search.lowrank.spectral import Spectral
from trp_search.lowrank.times import LayerTimes
from trp_search.records import Cut, Factored, LatencySpeedup, NetworkSpec, Speedup, Target
from trp_search.runs.layer_times import Stopwatch, measured
from trp_search.runs.timed_cut import fast_enough, solved
from trp_search.runtimes.machine import device_name
from trp_search.runtimes.timing import Timing
from trp_search.store import RunFolder
from trp_search.tasks.task import threads
from trp_search.workloads import networks

PIXELS = 224
SETTINGS = ((1, 1), (2, 32))  # threads, batch
RUNTIMES = ("onnxruntime", "eager", "openvino")
NETWORKS = ("resnet18", "mobilenet_v2", "resnet50")
ASKED = (2.0, 1.5, 3.0)
RULES = ("time", "multiply-adds")
KEYS = ["threads", "batch", "runtime", "network", "promised", "rule"]
FIELDS = [
    *KEYS,
    *("outcome", "fewer", "table", "delivered", "low", "high", "milliseconds"),
    *(
        "dense_milliseconds",
        "timed",
        "channel",
        "spatial",
        "seconds",
        "machine",
        "commit",
        "reason",
    ),
]
Row = dict[str, Any]


def main() -> None:
    """Reads the command line; measures what is missing, or prints the table."""
    given = arguments(__doc__)
    table = Table(given.out / "table.csv", keys=KEYS, fields=FIELDS)
    if given.command == "show":
        print(shown(pd.read_csv(table.path)))
        return
    for key in table.missing(itertools.product(SETTINGS, RUNTIMES, NETWORKS, ASKED, RULES), given):
        row = key | measured_row(key, given.out, seconds=given.seconds)
        table.add([row])
        told = row.get("delivered", row.get("reason"))
        print(*key.values(), row["outcome"], told, flush=True)


def arguments(description: str) -> argparse.Namespace:
    """The command line: `command`, `out`, `only` and `seconds`."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("command", choices=("run", "show"))
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", default="", help="a regular expression on a row's keys")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each timing")
    return parser.parse_args()


@dataclass(frozen=True)
class Table:
    """A CSV file of rows, one or several for each value of its keys."""

    path: Path
    keys: list[str]
    fields: list[str]

    def missing(self, cases: Iterable[tuple[Any, ...]], given: argparse.Namespace) -> Iterator[Row]:
        """The keys of the cases that are asked for and have no row yet.

        A case is a setting, threads and batch, and the values of the other keys.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if not self.path.exists():
            pd.DataFrame(columns=self.fields).to_csv(self.path, index=False)
        for setting, *rest in cases:
            key = dict(zip(self.keys, (*setting, *rest), strict=True))
            known = pd.read_csv(self.path)
            has = (known[self.keys] == pd.Series(key)).all(axis=1).any()
            if re.search(given.only, " ".join(map(str, key.values()))) and not has:
                yield key

    def add(self, rows: Iterable[Row]) -> pd.DataFrame:
        """Adds rows; returns them."""
        table = pd.DataFrame(rows, columns=self.fields)
        table.to_csv(self.path, mode="a", header=False, index=False)
        return table


def measured_row(key: Row, out: Path, *, seconds: float) -> Row:
    """The rest of a row."""
    began = time.time()
    target = Target(
        name="here",
        height=PIXELS,
        width=PIXELS,
        **{name: key[name] for name in ("runtime", "threads", "batch")},
    )
    found = {"machine": device_name("cpu"), "commit": commit()}
    with threads(key["threads"]):
        try:
            found |= _delivered(key, target, out, seconds=seconds)
        except InputError as error:
            found |= {"outcome": "refused", "reason": str(error)}
    # What a row took, which includes the table of layers in the first of a target.
    return {**found, "seconds": round(time.time() - began)}


def _delivered(key: Row, target: Target, out: Path, *, seconds: float) -> Row:
    analysis = analysed(key["network"])
    by_time = key["rule"] == "time"
    # What ranks by multiply-adds deliver corrects no table here.
    folder = RunFolder(path=out / "times" / key["network"])
    apart = folder if by_time else RunFolder(path=out / "times" / f"{key['network']}-multiply-adds")
    clock = Stopwatch(
        apart,
        analysis.network,
        (one.layer for layer in analysis.layers for one in layer.candidates),
        target,
        channels=3,
        seconds=seconds,
    )
    if by_time:
        clock.fill()
    times = measured(folder, target, macs=analysis.macs)
    timed: list[Timing] = []

    def noted(layers: Factored) -> Timing:
        timed.append(clock.time(layers))
        return timed[-1]

    if by_time:
        cut = Cut(keep=LatencySpeedup(key["promised"]), scheme="per-layer", layers="all")
        assert times is not None
        layers, _ = fast_enough(analysis, cut, times, time=noted)
    else:
        cut = Cut(keep=Speedup(key["promised"]), scheme="per-layer", layers="all")
        layers = solved(analysis, cut)
    return _row(analysis, layers, times, clock.time(layers)) | {"timed": len(timed)}


def _row(analysis: Analysis, layers: Factored, times: LayerTimes | None, timing: Timing) -> Row:
    costs = {
        (one.layer.name, one.layer.scheme.name): one.layer
        for layer in analysis.layers
        for one in layer.candidates
    }
    spared = sum(
        costs[name, scheme].dense_macs - int(costs[name, scheme].macs((rank,)))
        for name, (scheme, rank) in layers.items()
    )
    schemes = [scheme for scheme, _ in layers.values()]
    row: Row = {
        "outcome": "timed",
        "fewer": analysis.macs / (analysis.macs - spared),
        "delivered": timing.speedup,
        "low": timing.low,
        "high": timing.high,
        "milliseconds": 1e3 * timing.seconds,
        "dense_milliseconds": 1e3 * timing.dense_seconds,
        "channel": schemes.count("channel"),
        "spatial": schemes.count("spatial"),
    }
    if times is not None:
        row["table"] = times.total / (times.total - times.saved_by(layers))
    return {k: round(v, 3) if isinstance(v, float) else v for k, v in row.items()}


@functools.lru_cache(maxsize=1)
def analysed(name: str) -> Analysis:
    """A network with random weights, its layers by channel and spatial pairs."""
    torch.manual_seed(0)
    network = networks.build(NetworkSpec(name=name), channels=3, classes=1000).eval()
    wanted = Cut(keep=Speedup(1.0), scheme="per-layer", layers="all")
    image = torch.zeros(1, 3, PIXELS, PIXELS)
    pairs = Spectral(SCHEMES["channel"], SCHEMES["spatial"])
    return analyse(network, image, pairs, wanted)


def shown(table: pd.DataFrame) -> str:
    """A line for each network, target and speedup: what each rule delivered."""
    return pivoted(
        table,
        lambda row: f"{row.delivered:.2f}",
        index=["threads", "batch", "runtime", "network"],
        columns=["promised", "rule"],
    )


def pivoted(
    table: pd.DataFrame, told: Callable[[Any], str], *, index: list[str], columns: list[str]
) -> str:
    """The table with what is told of each row that was timed, and the outcome of all others."""
    cells = [told(row) if row.outcome == "timed" else row.outcome for row in table.itertuples()]
    wide = table.assign(cell=cells).pivot_table(
        index=index, columns=columns, values="cell", aggfunc="last", sort=False
    )
    return str(wide.fillna("").to_string())


if __name__ == "__main__":
    main()
