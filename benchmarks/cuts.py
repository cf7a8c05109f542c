"""Which way of cutting a trained network keeps most: every rule, scheme and weighting, measured.

    trp-search search benchmarks/cuts.yaml --out RUN
    python benchmarks/cuts.py accuracy RUN --trial baseline --out cuts.csv
    python benchmarks/cuts.py accuracy RUN --trial 0 --out cuts.csv
    python benchmarks/cuts.py show cuts.csv
    python benchmarks/cuts.py price

`accuracy` cuts a trial's stored weights to 1.5, 2, 3 and 4 times fewer multiply-adds and scores
them on test images, which are used to compare alone: nothing is chosen by them. `price` cuts
ResNet-20 at 32 pixels and torchvision's ResNet-18 at 224, calibration included, each time in a
process of its own.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import multiprocessing
import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import pandas as pd
import torch
from torch import Tensor, nn

from trp_search.errors import InputError
from trp_search.lowrank.analysis import Analysis, analyse
from trp_search.lowrank.decompose import cut
from trp_search.lowrank.decompositions import DECOMPOSITIONS
from trp_search.records import Allocation, Cut, CutScheme, Evbmf, NetworkSpec, Speedup
from trp_search.runs import networks as stored
from trp_search.scoring.batch_norm import reestimate
from trp_search.store import RunFolder
from trp_search.tasks import TASKS
from trp_search.workloads import data, networks

TASK = TASKS["classification"]

BUDGETS = (1.5, 2.0, 3.0, 4.0)
SCHEMES: tuple[CutScheme, ...] = get_args(CutScheme)[::-1]
ALLOCATIONS: tuple[Allocation, ...] = get_args(Allocation)
SIDES = {"resnet20": 32, "resnet18": 224}
WEIGHTED = ("weights", "activations")
FIELDS = (
    "trial",
    "scheme",
    "weighted",
    "rule",
    "budget",
    "speedup",
    "batch_norm",
    "accuracy",
    "seconds",
)


Row = dict[str, object]


@dataclass(frozen=True, kw_only=True)
class Bench:
    """A trained network and the images that measure its cuts."""

    network: nn.Module
    example: Tensor
    calibration: list[Tensor]
    norm: list[Tensor]
    test: list[tuple[Tensor, Tensor]]

    @staticmethod
    def of(run: Path, name: str, *, images: int, calibration: int) -> Bench:
        """The stored weights of trial `name` and its images."""
        folder = RunFolder.open(run)
        spec = folder.trial(name).read_spec()
        workload = spec.workload
        splits = data.load(
            workload.data, split_seed=spec.split_seed, outside_weights=False, device="cpu"
        )
        shape = splits.shape
        test = splits.test
        order = torch.randperm(len(test), generator=torch.Generator().manual_seed(0))
        return Bench(
            network=stored.trained(folder, name),
            example=torch.zeros(1, shape.channels, shape.height, shape.width),
            calibration=list(splits.train.samples(calibration, batch_size=32)),
            norm=list(splits.train.samples(1024, batch_size=256)),
            test=list(test.images.plain(test.rows[order[:images].sort().values], 250)),
        )

    def rows(self) -> Iterator[Row]:
        """The network uncut, then every cut, each with old and with new batch norm."""
        yield {"scheme": "uncut", "speedup": 1, "accuracy": self.score(self.network)}
        for scheme, weighted in itertools.product(SCHEMES, WEIGHTED):
            began = time.perf_counter()
            analysis = analyse(
                self.network,
                self.example,
                DECOMPOSITIONS[scheme],
                Cut(scheme=scheme, keep=Speedup(2.0)),
                self.calibration if weighted == "activations" else None,
            )
            analysing = time.perf_counter() - began
            for rule, wanted in _cuts(scheme):
                begun = {"scheme": scheme, "weighted": weighted, "rule": rule}
                yield from self._both(analysis, wanted, begun, analysing)

    def _both(self, analysis: Analysis, wanted: Cut, begun: Row, analysing: float) -> Iterator[Row]:
        began = time.perf_counter()
        try:
            made = cut(analysis, wanted)
        except InputError as error:
            print(f"{begun}: {error}", file=sys.stderr)
            return
        seconds = analysing + time.perf_counter() - began
        dense = sum(layer.dense_macs for layer in made.layers)
        speedup = dense / sum(layer.macs for layer in made.layers)
        row = begun | {
            "budget": wanted.keep.amount,
            "speedup": round(speedup, 4),
            "seconds": round(seconds, 3),
        }
        yield row | {"batch_norm": "as trained", "accuracy": self.score(made.network)}
        reestimate(made.network, self.norm)
        yield row | {"batch_norm": "re-estimated", "accuracy": self.score(made.network)}

    def score(self, network: nn.Module) -> float:
        """Accuracy on the test images."""
        return TASK.evaluate(network, self.test).score.value


def accuracy(run: Path, name: str, out: Path, *, images: int, calibration: int) -> None:
    """Appends one row per cut to the CSV file `out`."""
    bench = Bench.of(run, name, images=images, calibration=calibration)
    new = not out.exists()
    with out.open("a", newline="") as file:
        table = csv.DictWriter(file, FIELDS)
        if new:
            table.writeheader()
        for row in bench.rows():
            table.writerow({"trial": name} | row)
            file.flush()


def _cuts(scheme: CutScheme) -> Iterator[tuple[str, Cut]]:
    yield "evbmf", Cut(scheme=scheme, keep=Evbmf())
    for allocation, budget in itertools.product(ALLOCATIONS, BUDGETS):
        yield allocation, Cut(scheme=scheme, keep=Speedup(budget), allocation=allocation)


def show(path: Path) -> None:
    """One table for each trial and batch norm: accuracies by budget, the best cut first."""
    rows = pd.read_csv(path)
    for name, own in rows.groupby("trial"):
        uncut = own.loc[own.scheme == "uncut", "accuracy"].iloc[0]
        for batch_norm, cuts in own[own.budget.notna()].groupby("batch_norm"):
            keys = ["scheme", "weighted", "rule"]
            table = cuts.pivot_table(index=keys, columns="budget", values="accuracy") * 100
            table = table.loc[table.mean(axis=1).sort_values(ascending=False).index]
            print(f"\n{name}: uncut {100 * uncut:.1f} %; batch norm {batch_norm}\n")
            heads = [*keys, *(f"{budget:g}x" for budget in table.columns)]
            print("| " + " | ".join(heads) + " |\n|" + "---|" * len(heads))
            for names, values in table.iterrows():
                cells = [*names, *(f"{value:.1f}" for value in values)]
                print("| " + " | ".join(cells) + " |")


def price(threads: int) -> None:
    """Seconds and memory of one whole cut at 2x, per scheme and weighting."""
    print(f"knapsack at 2x, {threads} threads, 256 images")
    print(f"{'network':<9} {'scheme':<10} {'weighted by':<12} {'seconds':>8} {'GB beyond it':>13}")
    context = multiprocessing.get_context("spawn")
    for name, scheme, weighted in itertools.product(SIDES, SCHEMES, (False, True)):
        with context.Pool(1) as pool:
            seconds, memory = pool.apply(_price, (name, scheme, weighted, threads))
        by = "activations" if weighted else "weights"
        print(f"{name:<9} {scheme:<10} {by:<12} {seconds:>8.1f} {memory:>13.2f}", flush=True)


def _price(
    name: str,
    scheme: CutScheme,
    weighted: bool,  # noqa: FBT001
    threads: int,
) -> tuple[float, float]:
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    side = SIDES[name]
    network = networks.build(NetworkSpec(name=name), channels=3, classes=1000).eval()
    example = torch.zeros(1, 3, side, side)
    with torch.no_grad():
        network(example)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    # Made batch by batch, as a stream of images is.
    images = (torch.randn(32, 3, side, side) for _ in range(8)) if weighted else None
    wanted = Cut(scheme=scheme, keep=Speedup(2.0))
    cut(analyse(network, example, DECOMPOSITIONS[scheme], wanted, images), wanted)
    seconds = time.perf_counter() - began
    return seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("accuracy")
    one.add_argument("run", type=Path)
    one.add_argument("--trial", default="baseline")
    one.add_argument("--out", type=Path, required=True)
    one.add_argument("--images", type=int, default=2000)
    one.add_argument("--calibration", type=int, default=256)
    three = commands.add_parser("show")
    three.add_argument("csv", type=Path)
    two = commands.add_parser("price")
    two.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.command == "accuracy":
        accuracy(
            given.run, given.trial, given.out, images=given.images, calibration=given.calibration
        )
    elif given.command == "show":
        show(given.csv)
    else:
        price(given.threads)


if __name__ == "__main__":
    main()
