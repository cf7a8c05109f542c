"""What acts at a cut, by scoring a search's stored networks again; see `benchmarks/front.py`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from torch import nn

from trp_search import pareto
from trp_search.evaluation import evaluate, threads
from trp_search.records import Cut, TrialSpec
from trp_search.scoring.candidate import Cuts, cost_of
from trp_search.store import RunFolder
from trp_search.training.checkpoint import load_tensors
from trp_search.workloads import data, networks
from trp_search.workloads.splits import Splits

BUDGETS = (1.5, 2.0, 3.0, 4.0)
EVERY = 5
BATCH = 256


def variants(spec: TrialSpec) -> dict[str, Sequence[Cut]]:
    """The cuts of a trial as they are, and with one thing changed."""
    assert spec.pruning is not None
    own, scheme = spec.cuts[0], spec.pruning.scheme

    def each(change: Callable[[Cut], Cut]) -> list[Cut]:
        return [change(cut) for cut in (own, *spec.race)]

    def budgets(**changes: object) -> list[Cut]:
        return each(lambda cut: dataclasses.replace(cut, **changes) if cut.is_budget else cut)  # type: ignore[arg-type]

    unsettled = [
        dataclasses.replace(cut, reestimate_batch_norm=False) for cut in each(lambda cut: cut)
    ]
    return {
        "as it is": each(lambda cut: cut),
        "one point a trial": [own],
        "batch norm as trained": unsettled,
        "one energy in all layers": budgets(spread="energy"),
        "the trial's scheme in all layers": budgets(scheme=scheme),
        "by weights alone": budgets(calibration_images=0),
    }


@dataclasses.dataclass(frozen=True)
class Found:
    """A cut network and what it is on validation."""

    accuracy: float
    speedup: float
    network: nn.Module


def rows(folder: RunFolder) -> Iterator[dict[str, object]]:
    """One for each variant: what validation chooses from one trial in five, and its test score."""
    names = sorted((n for n in folder.trial_names() if n != "baseline"), key=int)[::EVERY]
    ended = [n for n in names if (r := folder.trial(n).read_result()) and r.ended_well]
    plain = folder.trial("baseline").read_spec()
    splits = data.load(
        plain.workload.data, split_seed=plain.split_seed, outside_weights=False, device="cpu"
    )
    pools: dict[str, list[Found]] = {}
    for name in ended:
        spec = folder.trial(name).read_spec()
        network = _network(folder, spec, splits)
        dense = cost_of(network, splits).macs
        for part, (own, *others) in variants(spec).items():
            with threads(spec.threads):
                cuts = Cuts(network, splits)
                scored = [cuts.score(own)]
                race = cuts.race(others, images=spec.race_images)
            pools.setdefault(part, []).extend(
                Found(s.validation.accuracy, dense / s.made.cost.macs, s.made.network)
                for s in (*scored, *(scored for _, scored in race.survivors))
            )
    reference = _tested(_network(folder, plain, splits), splits)
    for part, pool in pools.items():
        yield {"part": part, "networks": len(ended)} | _chosen(pool, splits, reference)


def _network(folder: RunFolder, spec: TrialSpec, splits: Splits) -> nn.Module:
    shape = splits.shape
    network = networks.build(spec.workload.network, channels=shape.channels, classes=shape.classes)
    load_tensors(network, folder.trial(spec.name).weights)
    return network.eval()


def _chosen(pool: Sequence[Found], splits: Splits, reference: float) -> dict[str, object]:
    row: dict[str, object] = {}
    for budget in BUDGETS:
        fast = [found for found in pool if found.speedup >= budget]
        best = max(fast, key=lambda found: (found.accuracy, found.speedup), default=None)
        row[f"{budget:g}x"] = best and _tested(best.network, splits)
    mask = pareto.nondominated(np.array([[found.accuracy, found.speedup] for found in pool]))
    front = [found for found, kept in zip(pool, mask, strict=True) if kept]
    values = np.array([[_tested(found.network, splits), -1 / found.speedup] for found in front])
    corner = np.array([reference - 0.1, -1.0])
    return row | {"hypervolume": pareto.hypervolume(values, corner)}


def _tested(network: nn.Module, splits: Splits) -> float:
    return evaluate(network, splits.test.batches(BATCH)).accuracy
