"""Accuracy at equal measured speedup: ranks by time against ranks by multiply-adds, and int8.

    python -m benchmarks.clock_trained run OUT [--only REGEX] [--seconds 1]
    python -m benchmarks.clock_trained show OUT

From the repository's folder, on a machine that does nothing else, with CIFAR-10 as images under
`data/cifar10-images`. The networks are trained, and nothing is trained after their cuts:

- `resnet20`: `results/resnet20/baseline-0.safetensors`, each layer a pair or dense;
- `elastic`: its elastic training, as `python -m benchmarks.resnet20 run OUT --only elastic` leaves
  it in the same OUT, each layer at a rank or dense;
- `vit`: the baseline of `search_spaces/cifar10_vit.yaml`, each linear layer a pair or dense.

OUT/trained.csv has a row for each target, network, speedup, rule and precision:

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
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from torch import nn

from benchmarks.clock import RUNTIMES, SETTINGS, Row, Table, arguments, pivoted
from benchmarks.resnet20 import Place, weights
from benchmarks.resnet20_arms import DATA, SPLIT
from benchmarks.rivals.given import TASK, resnet20
from trp_search.errors import InputError
from trp_search.lowrank.placing import copied
from trp_search.records import SUFFIXES, Cut, LatencySpeedup, Speedup, Target
from trp_search.runs import networks as kept
from trp_search.runs.beside import Beside
from trp_search.runs.layer_times import Stopwatch, measured
from trp_search.runs.timed_cut import as_chosen, by_multiply_adds, fast_enough
from trp_search.runtimes.fold import fold_batch_norm
from trp_search.runtimes.machine import device_name
from trp_search.runtimes.quantizer import QuantizedNetwork, calibrated
from trp_search.scoring.candidate import Cuts
from trp_search.space import load_space
from trp_search.store import RunFolder
from trp_search.tasks.task import threads
from trp_search.workloads import data, networks
from trp_search.workloads.data import Splits

NETWORKS = ("resnet20", "elastic", "vit")
ASKED, RULES = (1.0, 1.5, 2.0, 2.5), ("time", "multiply-adds")
KEYS = ["threads", "batch", "runtime", "network", "promised", "rule"]
FIELDS = [*KEYS, "precision", "outcome", "fewer", "delivered", "low", "high", "milliseconds"]
FIELDS += ["validation", "test", "machine", "reason"]
VIT = Path("search_spaces/cifar10_vit.yaml")
_CALIBRATED, _BATCH = 300, 256


def main() -> None:
    """Reads the command line; measures what is missing, or prints the table."""
    given = arguments(__doc__)
    table = Table(given.out / "trained.csv", keys=KEYS, fields=FIELDS)
    if given.command == "show":
        print(shown(pd.read_csv(table.path)))
        return
    for key in table.missing(itertools.product(SETTINGS, RUNTIMES, NETWORKS, ASKED, RULES), given):
        found = table.add(list(measured_rows(key, given.out, seconds=given.seconds)))
        print(found.drop(columns=["outcome", "reason"]).to_string(header=False), flush=True)


def measured_rows(key: Row, out: Path, *, seconds: float) -> Iterator[Row]:
    """The rows of a rule at a speedup: in float32, and in int8 where the runtime has it."""
    fields = {name: key[name] for name in ("runtime", "threads", "batch")}
    target = Target(name="here", height=DATA.image_size, width=DATA.image_size, **fields)
    with threads(key["threads"]):
        try:
            own = trained(key["network"], out)
            bench = Bench(name=key["network"], own=own, target=target, out=out, seconds=seconds)
            found = bench.by_time if key["rule"] == "time" else bench.by_macs
            wanted = found(key["promised"])
            scored = own.cuts.score(wanted)
        except InputError as error:
            yield key | {"outcome": "refused", "reason": str(error)}
            return
        network, splits = scored.made.network.eval(), own.splits
        row = key | {"fewer": round(bench.macs / scored.made.cost.macs, 3)}
        row["machine"] = device_name("cpu")
        yield row | {"precision": "float32"} | bench.told(network)
        if key["runtime"] in SUFFIXES:
            with tempfile.TemporaryDirectory() as place:
                images = list(splits.train.samples(_CALIBRATED, batch_size=32))
                folded, _ = fold_batch_norm(copied(network), images[0])
                path = Path(place) / f"network{SUFFIXES[key['runtime']]}"
                calibrated(key["runtime"], folded, images, Path(place)).write(path)
                int8 = QuantizedNetwork(path, key["runtime"])
                yield row | {"precision": "int8"} | bench.told(int8)


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A trained network, its images, and what all of its cuts have in common."""

    network: nn.Module
    splits: Splits
    common: Mapping[str, Any]

    @functools.cached_property
    def cuts(self) -> Cuts:
        """Of the network."""
        return Cuts(self.network, self.splits, TASK)

    def cut(self, keep: LatencySpeedup | Speedup) -> Cut:
        """The cut that keeps so much."""
        return Cut(keep=keep, **self.common)


@functools.cache
def trained(name: str, out: Path) -> Trained:
    """The network of this name; raises InputError where it has not been trained."""
    pairs = {"scheme": "per-layer", "layers": "all", "calibration_images": 256}
    if name == "vit":
        workload = load_space(VIT).workload
        splits = data.load(workload.data, split_seed=0, outside_weights=True, device="cpu")
        shape = splits.shape
        network = networks.build(workload.network, channels=shape.channels, classes=shape.classes)
        assert workload.weights is not None
        networks.load_weights(network, workload.weights, spec=workload.network, channels=3)
        return Trained(network=network.eval(), splits=splits, common=pairs)
    splits = data.load(DATA, split_seed=SPLIT, outside_weights=False, device="cpu")
    if name == "resnet20":
        return Trained(network=resnet20(weights(0)), splits=splits, common=pairs)
    run = Place(out).run(0)
    for one in run.trial_names():
        if one.startswith(name) and run.trial(one).result.exists():
            return Trained(
                network=kept.trained(run, one), splits=splits, common={"scheme": "nested"}
            )
    raise InputError(f"{run.path}: no {name} training has ended there")


@dataclass(kw_only=True)
class Bench:
    """A trained network and the target on which its cuts are timed."""

    name: str
    own: Trained
    target: Target
    out: Path
    seconds: float

    @functools.cached_property
    def dense(self) -> Cut:
        """The cut that keeps everything."""
        return self.own.cut(Speedup(1.0))

    @functools.cached_property
    def macs(self) -> int:
        """Multiply-adds of the trained network."""
        return self.own.cuts.analysis(self.dense).macs

    def clock(self, *, table: bool) -> Stopwatch:
        """What times cuts."""
        layers = self.own.cuts.analysis(self.dense).layers
        return Stopwatch(
            self.folder(table=table),
            self.own.network,
            [one.layer for layer in layers for one in layer.candidates],
            self.target,
            channels=3,
            seconds=self.seconds,
        )

    def folder(self, *, table: bool) -> RunFolder:
        """Where times are kept; what ranks by multiply-adds deliver corrects no table."""
        name = self.name if table else f"{self.name}-multiply-adds"
        return RunFolder(path=self.out / "times" / name)

    def by_time(self, promised: float) -> Cut:
        """Ranks by the table of layers' times."""
        clock = self.clock(table=True)
        wanted = self.own.cut(LatencySpeedup(promised))
        clock.fill()
        times = measured(self.folder(table=True), self.target, macs=self.macs)
        assert times is not None
        analysis = self.own.cuts.analysis(wanted)
        layers, _ = fast_enough(analysis, wanted, times, time=clock.time)
        return as_chosen(wanted, layers)

    def by_macs(self, promised: float) -> Cut:
        """Ranks by multiply-adds, at the least counted speedup found that is measured so fast.

        Raises:
            InputError: none was, up to the most that ranks reach.
        """
        if promised == 1:
            return self.dense
        analysis, clock = self.own.cuts.analysis(self.dense), self.clock(table=False)
        layers, _ = by_multiply_adds(analysis, self.dense, promised, time=clock.time)
        return as_chosen(self.dense, layers)

    def told(self, network: nn.Module) -> Row:
        """What a network takes and how good it is."""
        beside = Beside(functools.partial(copied, self.own.network), self.target, channels=3)

        def made() -> nn.Module:
            return network if isinstance(network, QuantizedNetwork) else copied(network)

        timing, _ = beside.time(made, seconds=self.seconds)
        splits = self.own.splits
        return {
            "outcome": "timed",
            "delivered": round(timing.speedup, 3),
            "low": round(timing.low, 3),
            "high": round(timing.high, 3),
            "milliseconds": round(1e3 * timing.seconds, 3),
            "validation": TASK.evaluate(network, splits.validation.batches(_BATCH)).score.value,
            "test": TASK.evaluate(network, splits.test.batches(_BATCH)).score.value,
        }


def shown(table: pd.DataFrame) -> str:
    """A line for each target, speedup and precision: what each rule delivered, and its accuracy."""
    return pivoted(
        table,
        lambda row: f"{row.delivered:.2f}x {row.test:.1%}",
        index=["threads", "batch", "runtime", "network", "promised"],
        columns=["precision", "rule"],
    )


if __name__ == "__main__":
    main()
