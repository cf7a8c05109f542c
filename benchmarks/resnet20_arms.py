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
    Elastic,
    NetworkSpec,
    PairScheme,
    Pruning,
    Speedup,
    Training,
    TrialSpec,
    Workload,
)

BUDGETS = (2.0, 3.0, 4.0, 5.0)
EPOCHS = 8  # for each network handed over
TRIED, RATES = 3.0, (0.05, 0.02)  # at this budget both; validation chooses for the others
NUCLEAR = 3e-4 / 20  # the paper's lambda over its period
FIRST = 0  # the seed that tries the rates
IMAGES = 45_000 // 128 * 128  # of an epoch
SPLIT = 0  # every baseline, of any seed, was trained on the images of this one
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
Makes = Callable[[tuple[float, ...], Training], Changes]


@dataclass(frozen=True, kw_only=True)
class Arm:
    """A way of making the network smaller.

    Attributes:
        name: in the table.
        changes: what its trial has beside the baseline's settings, for the budgets that it serves
            and a training.
        epochs: of images that a training sees, each pass counted.
        passes: of each batch.
        serves: the budgets of its trainings.
        tried: the arm whose rate it takes; its own by default.
        after: the arm of one training, at the first rate, whose network is cut and then trained;
            its images count here too, in equal shares.
    """

    name: str
    changes: Makes
    epochs: int = EPOCHS
    passes: int = 1
    serves: tuple[tuple[float, ...], ...] = ((TRIED,), (2.0,), (4.0,), (5.0,))
    tried: str | None = None
    after: str | None = None


@dataclass(frozen=True, kw_only=True)
class Job:
    """One training; `images` are those it sees, once for each pass.

    `before` is the training whose network it cuts; `shared` networks each pay their part of it.
    """

    arm: str
    seed: int
    rate: float
    budgets: tuple[float, ...]
    images: int
    spec: TrialSpec
    before: TrialSpec | None = None
    shared: int = 1


def baseline(seed: int, device: str) -> Job:
    """The training of the baseline; compiling pays off on a CPU, where no graph is recorded."""
    training = dataclasses.replace(WHOLE, compile=device == "cpu")
    spec = TrialSpec(
        kind="baseline",
        name=BASELINE,
        seed=seed,
        split_seed=SPLIT,
        start="scratch",
        workload=Workload(network=NetworkSpec(name="resnet20"), data=DATA),
        training=training,
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


def _plain(scheme: CutScheme) -> Makes:
    def changes(budgets: tuple[float, ...], training: Training) -> Changes:
        (budget,) = budgets
        tuning = dataclasses.replace(training, compile=False)  # anew for each network: minutes
        return {"method": "plain", "fine_tuning": tuning, "cuts": (_cut(scheme, budget),)}

    return changes


def _trp(scheme: PairScheme, *, nuclear: float = 0.0, factored: bool = False) -> Makes:
    """TRP towards the budget; with `factored` half of the epochs are after the cut."""

    def changes(budgets: tuple[float, ...], training: Training) -> Changes:
        (budget,) = budgets
        cut = _cut(scheme, budget)
        pruning = Pruning(
            scheme=scheme,
            keep=cut.keep,
            period=10,
            nuclear_weight=nuclear,
            calibration_images=cut.calibration_images,
        )
        before, after = training, None
        if factored:
            before = dataclasses.replace(training, epochs=training.epochs // 2)
            after = dataclasses.replace(before, compile=False)
        own = {"training": before, "pruning": pruning, "fine_tuning": after, "cuts": (cut,)}
        return {"method": "trp", **own}

    return changes


def _elastic(budgets: tuple[float, ...], training: Training) -> Changes:
    cuts = tuple(_cut("nested", budget) for budget in budgets)
    elastic = Elastic(scheme="spatial")
    return {"method": "elastic", "training": training, "elastic": elastic, "cuts": cuts}


def _all_at_once(epochs: int, *, tried: str | None = None) -> Arm:
    return Arm(
        name=f"elastic, {epochs} epochs",
        changes=_elastic,
        epochs=epochs,
        passes=Elastic.draws,
        serves=(BUDGETS,),
        tried=tried,
    )


def _then_tuned(budgets: tuple[float, ...], training: Training) -> Changes:
    (budget,) = budgets
    tuning = dataclasses.replace(training, compile=False)
    cuts = (_cut("nested", budget),)
    return {"kind": "ranks", "method": "elastic", "fine_tuning": tuning, "cuts": cuts}


ARMS = (
    _all_at_once(16),
    Arm(name="plain, per-layer by activations", changes=_plain("per-layer")),
    _all_at_once(32, tried="elastic, 16 epochs"),
    Arm(
        name="plain, per-layer by activations, 32 epochs",
        changes=_plain("per-layer"),
        epochs=32,
        tried="plain, per-layer by activations",
    ),
    Arm(
        name="elastic, 16 epochs, then 4 for each",
        changes=_then_tuned,
        epochs=4,
        after="elastic, 16 epochs",
    ),
    Arm(name="TRP, spatial", changes=_trp("spatial")),
    Arm(
        name="TRP, per-layer by activations, half factored",
        changes=_trp("per-layer", factored=True),
    ),
    Arm(name="TRP, per-layer by activations", changes=_trp("per-layer")),
    Arm(name="plain, spatial", changes=_plain("spatial")),
    Arm(name="TRP, channel", changes=_trp("channel")),
    Arm(name="TRP + nuclear, spatial", changes=_trp("spatial", nuclear=NUCLEAR)),
    Arm(name="TRP + nuclear, channel", changes=_trp("channel", nuclear=NUCLEAR)),
)


def jobs(rows: pd.DataFrame, seeds: Sequence[int], device: str) -> Iterator[Job]:
    """Everything that can run now, given the `rows` there are, in order; what has ended too.

    Of each seed the baseline is first. The first seed runs every arm at the first rate, then tries
    the other; arms that do better with it run again. Other seeds wait for these choices.
    """
    ended = set(rows.loc[rows["arm"] == BASELINE, "seed"])
    for seed in seeds:
        yield baseline(seed, device)
        if seed in ended:
            yield from _tried(device) if seed == FIRST else ()
            for arm in ARMS:
                if (rate := chosen(arm.name, rows)) is not None:
                    yield from (job_of(arm, seed, rate, budgets, device) for budgets in arm.serves)


def _tried(device: str) -> Iterator[Job]:
    usual, other = RATES
    for arm in ARMS:
        yield from (job_of(arm, FIRST, usual, budgets, device) for budgets in arm.serves)
    for arm in ARMS:
        if arm.tried is None:
            (first,) = (budgets for budgets in arm.serves if TRIED in budgets)
            yield job_of(arm, FIRST, other, first, device)


def chosen(arm: str, rows: pd.DataFrame) -> float | None:
    """The rate of the best validation accuracy at the budget where all are tried, once they are."""
    tried = {own.name: own.tried or own.name for own in ARMS}.get(arm)
    at = rows[(rows["arm"] == tried) & (rows["seed"] == FIRST) & (rows["budget"] == TRIED)]
    if set(at["rate"]) != set(RATES):
        return None
    return float(at.sort_values("validation")["rate"].iloc[-1])


def job_of(arm: Arm, seed: int, rate: float, budgets: tuple[float, ...], device: str) -> Job:
    """A training of an arm for the budgets."""
    plain = baseline(seed, device)
    assert plain.spec.training is not None
    training = dataclasses.replace(
        plain.spec.training, epochs=arm.epochs // arm.passes, learning_rate=rate
    )
    changes = {"kind": "search", "training": None, **arm.changes(budgets, training)}
    name = f"{arm.name}-{'-'.join(f'{budget:g}x' for budget in budgets)}-{rate:g}"
    name = "".join(c if c.isalnum() or c in ".-" else "_" for c in name)
    before, shared = _before(arm, seed, device)
    spec = dataclasses.replace(
        plain.spec,
        name=f"ranks-{name}" if before else name,
        start="baseline",
        score_uncut=False,
        distillation=Distillation(),
        weights_of=before.spec.name if before else None,
        **changes,
    )
    return Job(
        arm=arm.name,
        seed=seed,
        rate=rate,
        budgets=budgets,
        images=arm.epochs * IMAGES + (before.images // shared if before else 0),
        spec=spec,
        before=before.spec if before else None,
        shared=shared,
    )


def _before(arm: Arm, seed: int, device: str) -> tuple[Job | None, int]:
    """The training whose network the arm cuts, if it does, and how many networks that serves."""
    if arm.after is None:
        return None, 1
    (base,) = (other for other in ARMS if other.name == arm.after)
    (budgets,) = base.serves
    return job_of(base, seed, RATES[0], budgets, device), len(budgets)
