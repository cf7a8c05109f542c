"""Accuracy at equal measured speedup: ranks by time against ranks by multiply-adds, and int8.

    python -m benchmarks.clock_trained run OUT [--only REGEX] [--seconds 1]
    python -m benchmarks.clock_trained show OUT

From the repository's folder, on a machine that does nothing else, with CIFAR-10 as images under
`data/cifar10-images`. ResNet-20, trained: `results/resnet20/baseline-0.safetensors`. Each layer
takes a pair or stays dense; batch norm is measured again, nothing is trained. OUT/trained.csv has
a row for each target, speedup, rule and precision:

- `promised`, the speedup on the clock that both rules are to deliver: by `time` as `cut
  --latency-speedup` does, by `multiply-adds` at the least counted speedup found whose measured one
  keeps to it;
- `delivered` by this very network in this precision, from `low` to `high`, in turn with the dense
  float32 network; `fewer`, times fewer multiply-adds;
- `validation` and `test`, the accuracy of this network in this precision, in the runtime if int8.

Rows that the table has are kept; both precisions of a rule are made together.
"""

from __future__ import annotations

import functools
import itertools
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from torch import nn

from benchmarks.clock import RUNTIMES, SETTINGS, Row, Table, arguments, pivoted
from benchmarks.resnet20 import weights
from benchmarks.resnet20_arms import DATA
from benchmarks.rivals.given import TASK, resnet20
from trp_search.errors import InputError
from trp_search.lowrank.placing import copied
from trp_search.records import (
    SUFFIXES,
    Cut,
    LatencySpeedup,
    Pairs,
    Speedup,
    Target,
)
from trp_search.runs.beside import Beside
from trp_search.runs.layer_times import Stopwatch, measured
from trp_search.runs.timed_cut import by_multiply_adds, fast_enough
from trp_search.runtimes.fold import fold_batch_norm
from trp_search.runtimes.quantizer import QuantizedNetwork, calibrated
from trp_search.scoring.candidate import Cuts
from trp_search.store import RunFolder
from trp_search.tasks.task import threads
from trp_search.workloads import data
from trp_search.workloads.data import Splits

ASKED, RULES = (1.0, 1.5, 2.0, 2.5), ("time", "multiply-adds")
KEYS = ["threads", "batch", "runtime", "promised", "rule"]
FIELDS = [*KEYS, "precision", "outcome", "fewer", "delivered", "low", "high", "milliseconds"]
FIELDS += ["validation", "test", "reason"]
CALIBRATION = {"calibration_images": 256, "layers": "all", "scheme": "per-layer"}
_CALIBRATED, _BATCH = 300, 256


def main() -> None:
    """Reads the command line; measures what is missing, or prints the table."""
    given = arguments(__doc__)
    table = Table(given.out / "trained.csv", keys=KEYS, fields=FIELDS)
    if given.command == "show":
        print(shown(pd.read_csv(table.path)))
        return
    for key in table.missing(itertools.product(SETTINGS, RUNTIMES, ASKED, RULES), given):
        found = table.add(list(measured_rows(key, given.out, seconds=given.seconds)))
        print(found.drop(columns=["outcome", "reason"]).to_string(header=False), flush=True)


def measured_rows(key: Row, out: Path, *, seconds: float) -> Iterator[Row]:
    """The rows of a rule at a speedup: in float32, and in int8 where the runtime has it."""
    fields = {name: key[name] for name in ("runtime", "threads", "batch")}
    target = Target(name="here", height=DATA.image_size, width=DATA.image_size, **fields)
    with threads(key["threads"]):
        try:
            bench = Bench(target=target, out=out, seconds=seconds)
            found = bench.by_time if key["rule"] == "time" else bench.by_macs
            wanted = found(key["promised"])
            scored = bench.cuts.score(wanted)
        except InputError as error:
            yield key | {"outcome": "refused", "reason": str(error)}
            return
        network, splits = scored.made.network.eval(), bench.splits
        row = key | {"fewer": round(bench.macs / scored.made.cost.macs, 3)}
        yield row | {"precision": "float32"} | bench.told(network)
        if key["runtime"] in SUFFIXES:
            with tempfile.TemporaryDirectory() as place:
                images = list(splits.train.samples(_CALIBRATED, batch_size=32))
                folded, _ = fold_batch_norm(copied(network), images[0])
                path = Path(place) / f"network{SUFFIXES[key['runtime']]}"
                calibrated(key["runtime"], folded, images, Path(place)).write(path)
                int8 = QuantizedNetwork(path, key["runtime"])
                yield row | {"precision": "int8"} | bench.told(int8)


@dataclass(kw_only=True)
class Bench:
    """The trained network and the target on which its cuts are timed."""

    target: Target
    out: Path
    seconds: float

    @property
    def splits(self) -> Splits:
        """The images, split as when the network was trained."""
        return trained()[1]

    @property
    def cuts(self) -> Cuts:
        """Of the trained network."""
        return trained()[2]

    @functools.cached_property
    def macs(self) -> int:
        """Multiply-adds of the trained network."""
        return self.cuts.analysis(self.asked(1.0)).macs

    def asked(self, speedup: float) -> Cut:
        """The cut to a counted speedup."""
        return Cut(keep=Speedup(speedup), **CALIBRATION)

    def clock(self, *, table: bool) -> Stopwatch:
        """What times cuts."""
        every = [
            one.layer for x in self.cuts.analysis(self.asked(1.0)).layers for one in x.candidates
        ]
        return Stopwatch(
            self.folder(table=table),
            trained()[0],
            every,
            self.target,
            channels=3,
            seconds=self.seconds,
        )

    def folder(self, *, table: bool) -> RunFolder:
        """Where times are kept; what ranks by multiply-adds deliver corrects no table."""
        return RunFolder(
            path=self.out / "times" / ("trained" if table else "trained-multiply-adds")
        )

    def by_time(self, promised: float) -> Cut:
        """Ranks by the table of layers' times."""
        clock = self.clock(table=True)
        wanted = Cut(keep=LatencySpeedup(promised), **CALIBRATION)
        analysis = self.cuts.analysis(wanted)
        clock.fill()
        times = measured(self.folder(table=True), self.target, macs=self.macs)
        assert times is not None
        layers: Any
        layers, _ = fast_enough(analysis, wanted, times, time=clock.time)
        return Cut(keep=Pairs(layers), **CALIBRATION)

    def by_macs(self, promised: float) -> Cut:
        """Ranks by multiply-adds, at the least counted speedup found that is measured so fast.

        Raises:
            InputError: none was, up to the most that ranks reach.
        """
        if promised == 1:
            return self.asked(1.0)
        analysis, clock = self.cuts.analysis(self.asked(1.0)), self.clock(table=False)
        layers: Any
        layers, _ = by_multiply_adds(analysis, self.asked(1.0), promised, time=clock.time)
        return Cut(keep=Pairs(layers), **CALIBRATION)

    def told(self, network: nn.Module) -> Row:
        """What a network takes and how good it is."""
        beside = Beside(functools.partial(copied, trained()[0]), self.target, channels=3)

        def made() -> nn.Module:
            return network if isinstance(network, QuantizedNetwork) else copied(network)

        timing, _ = beside.time(made, seconds=self.seconds)
        splits = self.splits
        return {
            "outcome": "timed",
            "delivered": round(timing.speedup, 3),
            "low": round(timing.low, 3),
            "high": round(timing.high, 3),
            "milliseconds": round(1e3 * timing.seconds, 3),
            "validation": TASK.evaluate(network, splits.validation.batches(_BATCH)).score.value,
            "test": TASK.evaluate(network, splits.test.batches(_BATCH)).score.value,
        }


@functools.cache
def trained() -> tuple[nn.Module, Splits, Cuts]:
    """The trained network, its images, and its cuts."""
    splits = data.load(DATA, split_seed=0, outside_weights=False, device="cpu")
    network = resnet20(weights(0))
    return network, splits, Cuts(network, splits, TASK)


def shown(table: pd.DataFrame) -> str:
    """A line for each target, speedup and precision: what each rule delivered, and its accuracy."""
    return pivoted(
        table,
        lambda row: f"{row.delivered:.2f}x {row.test:.1%}",
        index=["threads", "batch", "runtime", "promised"],
        columns=["precision", "rule"],
    )


if __name__ == "__main__":
    main()
