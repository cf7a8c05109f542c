"""What acts at a cut, by scoring a search's stored networks again; see `benchmarks/front.py`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from torch import nn

from benchmarks.front_rows import Found, chosen, trials_of
from trp_search.records import BASELINE, Cut, Energy, Speedup, TrialSpec, WholeNetwork
from trp_search.runs import networks
from trp_search.scoring.batch_norm import reestimate
from trp_search.scoring.candidate import Cuts, Scored, cost_of
from trp_search.space.sections import ExtraCuts
from trp_search.store import RunFolder
from trp_search.tasks import TASKS
from trp_search.tasks.task import threads
from trp_search.workloads import data
from trp_search.workloads.splits import Splits

TASK = TASKS["classification"]

EVERY = 2
AGAIN = "batch norm measured again"
BATCH = 256
IMAGES = ExtraCuts().calibration_images


def variants(spec: TrialSpec) -> dict[str, Sequence[Cut]]:
    """The cut of a trial as it is, and with each thing that could be added to it."""
    assert spec.pruning is not None
    own, scheme = spec.cuts[0], spec.pruning.scheme
    every = ExtraCuts()
    further = [
        Cut(scheme=scheme, keep=Energy(e), layers=own.layers)
        for e in every.energies_of(truncated=False)
    ]
    further += [
        Cut(scheme="per-layer", keep=Speedup(s), calibration_images=IMAGES, layers=own.layers)
        for s in every.speedups_of(truncated=False)
    ]

    def many(**changes: Any) -> list[Cut]:  # noqa: ANN401  fields of a cut
        return [
            own,
            *(
                dataclasses.replace(c, **changes) if isinstance(c.keep, WholeNetwork) else c
                for c in further
            ),
        ]

    as_trained = [dataclasses.replace(cut, reestimate_batch_norm=False) for cut in further]
    return {
        "as it is": [own],
        AGAIN: [own],
        "many cuts": many(),
        "many cuts, batch norm as trained": [own, *as_trained],
        "many cuts, one energy in all layers": many(allocation="energy"),
        "many cuts, the trial's scheme in all layers": many(scheme=scheme),
        "many cuts, by weights alone": many(calibration_images=0),
    }


def rows(folder: RunFolder) -> Iterator[dict[str, object]]:
    """One for each variant: what validation chooses from every other trial, and its test score."""
    names = trials_of(folder)[::EVERY]
    ended = [n for n in names if (r := folder.trial(n).read_result()) and r.ended_well]
    plain = folder.trial(BASELINE).read_spec()
    splits = data.load(
        plain.workload.data, split_seed=plain.split_seed, outside_weights=False, device="cpu"
    )
    pools: dict[str, list[Found]] = {}
    for name in ended:
        spec = folder.trial(name).read_spec()
        network = networks.trained(folder, name)
        dense = cost_of(network, splits).macs
        for part, (own, *others) in variants(spec).items():
            with threads(spec.threads):
                cuts = Cuts(network, splits, TASK)
                scored = cuts.score(own)
                if part == AGAIN:
                    scored = _again(scored, own, splits)
                screening = cuts.screen(others, images=spec.screening_images)
            pools.setdefault(part, []).extend(
                Found(
                    accuracy=s.validation.score.value,
                    speedup=dense / s.made.cost.macs,
                    test=partial(_tested, s.made.network, splits),
                )
                for s in (scored, *(other for _, other in screening.survivors))
            )
    reference = _tested(networks.trained(folder, BASELINE), splits)
    for part, pool in pools.items():
        yield {"part": part, "networks": len(ended)} | chosen(pool, reference)


def _again(scored: Scored, cut: Cut, splits: Splits) -> Scored:
    """With batch norm measured again, even where the cut took nothing away."""
    network = scored.made.network
    reestimate(network, splits.train.samples(cut.batch_norm_images, batch_size=BATCH))
    seen = TASK.evaluate(network, splits.validation.batches(BATCH))
    return dataclasses.replace(scored, validation=seen)


def _tested(network: nn.Module, splits: Splits) -> float:
    return TASK.evaluate(network, splits.test.batches(BATCH)).score.value
