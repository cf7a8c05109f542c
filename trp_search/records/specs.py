"""Specifications of a trial: training, truncation, fine-tuning."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator
from pydantic.dataclasses import dataclass as checked

from trp_search.records.cut import Cut
from trp_search.records.int8 import QuantizerName
from trp_search.records.kinds import (
    STRICT,
    Count,
    Device,
    Fraction,
    Kind,
    MethodName,
    Name,
    NonNegative,
    Part,
    Positive,
    PositiveInt,
    Seed,
    Share,
    Start,
    Threads,
)
from trp_search.records.trainings import Elastic, Joint, Pruning, Slimmable, Way
from trp_search.records.workload import Workload


@checked(frozen=True, kw_only=True, config=STRICT)
class Training:
    """One training: SGD with momentum and a schedule.

    Attributes:
        epochs: passes over the training images.
        batch_size: images per step.
        learning_rate: peak of the schedule.
        momentum: momentum of SGD.
        nesterov: whether the momentum is Nesterov's.
        weight_decay: L2 weight decay.
        schedule: `cosine` to zero, `step` (times `gamma` at each of `milestones`) or `constant`.
        milestones: shares of the epochs at which `step` drops.
        gamma: what `step` multiplies the learning rate by at each milestone.
        warmup: share of the epochs over which the rate rises linearly.
        label_smoothing: share of the target that is spread over all classes.
        precision: `bfloat16` is autocast, faster on GPUs and on CPUs with AMX; slow on CPUs without
            instructions for it.
        channels_last: whether images and weights are stored channels last.
        compile: whether torch.compile compiles the steps; it takes half a minute, so for long
            trainings.
    """

    epochs: PositiveInt
    batch_size: PositiveInt = 128
    learning_rate: Positive = 0.1
    momentum: Fraction = 0.9
    nesterov: bool = True
    weight_decay: NonNegative = 1e-4
    schedule: Literal["cosine", "step", "constant"] = "cosine"
    milestones: tuple[Fraction, ...] = (0.5, 0.75)
    gamma: Share = 0.1
    warmup: Fraction = 0.0
    label_smoothing: Fraction = 0.0
    precision: Literal["float32", "bfloat16"] = "float32"
    channels_last: bool = False
    compile: bool = False

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> Training:
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs momentum above 0")
        return self


@checked(frozen=True, kw_only=True, config=STRICT)
class Distillation:
    """Distillation from the baseline's answers (arXiv 1503.02531).

    Attributes:
        weight: share of the loss that is the distance to these answers; the rest is that to the
            labels.
        temperature: divides both networks' logits first.
    """

    weight: Part = 0.5
    temperature: Positive = 4.0


@checked(frozen=True, kw_only=True, config=STRICT)
class TrialSpec:
    """Everything that a training and its scores depend on.

    `name` is the folder under `trials/`. `kind` says what for: the `baseline`, a trial of the
    `search`, which has Optuna's `number` and which of its repeats it is, another seed of one
    (`confirm`) or a `refit`; the last two keep the number. `method` is None for the baseline;
    without a `Way` (`pruning` to `slimmable`) it is an ordinary training. Each of `cuts`
    becomes a point; with `fine_tuning` the one cut is fine-tuned into another. Those of `screening`
    are scored on `screening_images` validation images first, survivors on all; cuts out of reach
    are left out. After each epoch in `rungs` the report has the scores of a cut on as many images.
    With `score_uncut` the uncut network is scored too. With `int8` the trial's point is its own cut
    quantised for that runtime. `baseline` names the trial whose weights a start from the baseline
    takes. With `fit_on_validation` validation images are trained on.

    A trial of `ranks` trains nothing: it scores its `cuts` of the trained weights of the trial
    `weights_of`, and the points are that trial's.
    """

    name: Name
    kind: Kind
    number: Count | None = None
    repeat: Count = 0
    seed: Seed
    start: Start
    workload: Workload
    training: Training | None
    pruning: Pruning | None = None
    cuts: tuple[Cut, ...]
    method: MethodName | None = None
    joint: Joint | None = None
    elastic: Elastic | None = None
    slimmable: Slimmable | None = None
    distillation: Distillation | None = None
    fine_tuning: Training | None = None
    screening: tuple[Cut, ...] = ()
    screening_images: PositiveInt = 1000
    rungs: tuple[PositiveInt, ...] = ()
    score_uncut: bool = False
    int8: QuantizerName | None = None
    threads: Threads = 1
    device: Device = "cpu"
    split_seed: Seed = 0
    baseline: Name = "baseline"
    fit_on_validation: bool = False
    weights_of: Name | None = None

    @model_validator(mode="after")
    def _one_way_to_train(self) -> TrialSpec:
        ways = [name for name, part in vars(self).items() if isinstance(part, Way)]
        if len(ways) > 1:
            raise ValueError(f"takes one of {' and '.join(ways)}")
        if self.fine_tuning is not None and len(self.cuts) != 1:
            raise ValueError("fine_tuning is of one cut")
        if (self.kind == "ranks") != (self.weights_of is not None):
            raise ValueError("weights_of is of a trial of kind ranks, which needs it")
        return self

    @model_validator(mode="after")
    def _named_for_its_kind(self) -> TrialSpec:
        own = self.name.startswith(f"{self.kind}-")
        if self.kind == "baseline":
            own = self.name == "baseline"
        elif self.kind == "search":
            own = self.number is None or self.name == trial_name(self.number, self.repeat)
        if not own:
            raise ValueError(f"name: {self.name!r} is not that of a trial of kind {self.kind}")
        return self

    @property
    def needs_baseline(self) -> bool:
        """Whether it needs the weights of the baseline first."""
        return self.start == "baseline" or self.distillation is not None

    @property
    def epochs(self) -> int:
        """Epochs of training and fine-tuning."""
        parts = (self.training, self.fine_tuning)
        return sum(part.epochs for part in parts if part is not None)


def trial_name(number: int, repeat: int) -> str:
    """What a search calls a training: `7`, its repeat `7r1`."""
    return str(number) if repeat == 0 else f"{number}r{repeat}"
