"""The trainings of `benchmarks/resnet20.py`, in the order in which they run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from trp_search.records import (
    BASELINE,
    Cut,
    CutScheme,
    DataSpec,
    Distillation,
    NetworkSpec,
    Pruning,
    Scheme,
    Speedup,
    Training,
    TrialSpec,
    Workload,
)

BUDGETS = (2.0, 3.0, 4.0, 5.0)
EPOCHS = 8  # for each network handed over
TRIED, RATES = 3.0, (0.05, 0.02)  # both rates at this budget; validation chooses for the others
NUCLEAR = 3e-4 / 20  # the paper's lambda over its period
FIRST = 0  # the seed that tries the rates
IMAGES = 45_000 // 128 * 128  # of an epoch
DATA = DataSpec(name="images", root="data/cifar10-images", classes=10, image_size=32)
WHOLE = Training(
    epochs=60,
    learning_rate=0.1,
    weight_decay=5e-4,
    warmup=0.1,
    precision="bfloat16",
    channels_last=True,
)

Changes = dict[str, Any]


@dataclass(frozen=True)
class Arm:
    """A way of making the network smaller: what its trial has beside the baseline's settings.

    Attributes:
        name: in the table.
        changes: of a trial for these budgets that trains by these settings.
    """

    name: str
    changes: Callable[[tuple[float, ...], Training], Changes]


@dataclass(frozen=True, kw_only=True)
class Job:
    """One training; `images` are those it sees, once for each pass."""

    arm: str
    seed: int
    rate: float
    budgets: tuple[float, ...]
    images: int
    spec: TrialSpec


def baseline(seed: int, device: str) -> Job:
    """The training of the baseline; compiling pays off on a CPU, where no graph is recorded."""
    spec = TrialSpec(
        kind="baseline",
        name=BASELINE,
        seed=seed,
        start="scratch",
        workload=Workload(network=NetworkSpec(name="resnet20"), data=DATA),
        training=dataclasses.replace(WHOLE, compile=device == "cpu"),
        pruning=None,
        cuts=(),
        score_uncut=True,
        device=device,
    )
    images = WHOLE.epochs * IMAGES
    rate = WHOLE.learning_rate
    return Job(arm=BASELINE, seed=seed, rate=rate, budgets=(1.0,), images=images, spec=spec)


def _cut(scheme: CutScheme, budget: float) -> Cut:
    by = 256 if scheme == "per-layer" else 0
    return Cut(scheme=scheme, keep=Speedup(budget), calibration_images=by)


def _plain(scheme: CutScheme) -> Callable[[tuple[float, ...], Training], Changes]:
    def changes(budgets: tuple[float, ...], training: Training) -> Changes:
        (budget,) = budgets
        return {"method": "plain", "fine_tuning": training, "cuts": (_cut(scheme, budget),)}

    return changes


def _trp(scheme: Scheme, nuclear: float) -> Callable[[tuple[float, ...], Training], Changes]:
    def changes(budgets: tuple[float, ...], training: Training) -> Changes:
        (budget,) = budgets
        keep = Speedup(budget)
        pruning = Pruning(scheme=scheme, keep=keep, period=10, nuclear_weight=nuclear)
        cuts = (_cut(scheme, budget),)
        return {"method": "trp", "training": training, "pruning": pruning, "cuts": cuts}

    return changes


ARMS = (
    Arm("plain, per-layer by activations", _plain("per-layer")),
    Arm("TRP, spatial", _trp("spatial", 0.0)),
    Arm("plain, spatial", _plain("spatial")),
    Arm("TRP, channel", _trp("channel", 0.0)),
    Arm("TRP + nuclear, spatial", _trp("spatial", NUCLEAR)),
    Arm("TRP + nuclear, channel", _trp("channel", NUCLEAR)),
)


def jobs(rows: pd.DataFrame, seeds: Sequence[int], device: str) -> Iterator[Job]:
    """Everything that can run now, given the `rows` there are, in order; what has ended too.

    Of each seed the baseline is first; other seeds wait for the rates that the first one chooses.
    """
    ended = set(rows.loc[rows["arm"] == BASELINE, "seed"])
    for seed in seeds:
        yield baseline(seed, device)
        if seed in ended:
            for arm in ARMS:
                yield from _of_arm(arm, rows, seed, device)


def _of_arm(arm: Arm, rows: pd.DataFrame, seed: int, device: str) -> Iterator[Job]:
    rate = chosen(arm.name, rows)
    if seed == FIRST:
        for tried in RATES:
            yield _job(arm, seed, tried, (TRIED,), device)
    if rate is not None:
        for budget in BUDGETS:
            yield _job(arm, seed, rate, (budget,), device)


def chosen(arm: str, rows: pd.DataFrame) -> float | None:
    """The rate of the best validation accuracy at the budget where all are tried, once they are."""
    at = rows[(rows["arm"] == arm) & (rows["seed"] == FIRST) & (rows["budget"] == TRIED)]
    if set(at["rate"]) != set(RATES):
        return None
    return float(at.sort_values("validation")["rate"].iloc[-1])


def _job(arm: Arm, seed: int, rate: float, budgets: tuple[float, ...], device: str) -> Job:
    training = dataclasses.replace(WHOLE, epochs=EPOCHS * len(budgets), learning_rate=rate)
    plain = baseline(seed, device)
    name = f"{arm.name}-{'-'.join(f'{budget:g}x' for budget in budgets)}-{rate:g}"
    spec = dataclasses.replace(
        plain.spec,
        kind="search",
        name="".join(c if c.isalnum() or c in ".-" else "_" for c in name),
        start="baseline",
        training=None,
        score_uncut=False,
        distillation=Distillation(),
        **arm.changes(budgets, training),
    )
    return Job(
        arm=arm.name,
        seed=seed,
        rate=rate,
        budgets=budgets,
        images=EPOCHS * len(budgets) * IMAGES,
        spec=spec,
    )
