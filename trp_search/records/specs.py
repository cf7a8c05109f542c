"""Specifications of a trial: training, truncation, fine-tuning."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass as checked

from trp_search.records.cut import Cut
from trp_search.records.keep import Keep, PerLayer, WholeNetwork
from trp_search.records.keeps import Energy
from trp_search.records.kinds import (
    STRICT,
    Count,
    Device,
    Factor,
    Fraction,
    Kind,
    MethodName,
    Name,
    NonNegative,
    PairScheme,
    Part,
    Positive,
    PositiveInt,
    Scheme,
    Seed,
    Share,
    Start,
    Threads,
)
from trp_search.records.layers import AUTO, Layers
from trp_search.records.workload import Workload


@checked(frozen=True, kw_only=True, config=STRICT)
class Training:
    """One training: SGD with momentum and a schedule.

    Attributes:
        epochs: passes over the training images.
        batch_size: images of one step.
        learning_rate: the highest of the schedule.
        momentum: momentum of SGD.
        nesterov: whether the momentum is Nesterov's.
        weight_decay: factor of the weights in the gradient (L2).
        schedule: `cosine` to zero, `step` (times `gamma` at each of `milestones`) or `constant`.
        milestones: shares of the epochs at which `step` drops.
        gamma: what `step` multiplies the learning rate by at each milestone.
        warmup: share of the epochs over which the rate rises linearly.
        label_smoothing: share of the target that is spread over all classes.
        precision: `bfloat16` is autocast, faster on GPUs and on CPUs with AMX; slow on CPUs without
            instructions for it.
        channels_last: whether images and weights lie in memory channels last.
        compile: whether torch.compile compiles the steps: half a minute, for long trainings.
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
class Pruning:
    """Trained Rank Pruning during a training (arXiv 1812.02402, 2004.14566).

    Attributes:
        scheme: how a weight is unfolded into a matrix; `per-layer` takes in each layer what keeps
            most, as in `Cut`, anew at each truncation.
        keep: what a truncation keeps of each weight; a budget is what the whole network would cost,
            with ranks chosen anew over all layers each time.
        period: iterations between truncated SVDs (the paper's m); None is never.
        projection: whether the truncation replaces the weight.
        nuclear_weight: factor of U V^T in the gradient per iteration (the paper's lambda over the
            period); 0 is off.
        nuclear_every_step: add U V^T at every iteration, not `period` times as much of it at every
            `period`-th.
        layers: which may be cut: `kxk` (the paper's: convolutions wider than 1x1 but the first),
            `all`, `auto` for what suits the network, or patterns: see `records.layers`.
        calibration_images: training images whose activations weigh the truncations' errors; 0 uses
            weights alone.
        calibration_every: truncations from one measurement of these activations to the next; each
            epoch begins with one.
    """

    scheme: PairScheme = "channel"
    keep: Keep = Energy(0.95)
    period: PositiveInt | None = 20
    projection: bool = True
    nuclear_weight: NonNegative = 0.0
    nuclear_every_step: bool = False
    layers: Layers = AUTO
    calibration_images: Annotated[int, Field(ge=0)] = 0
    calibration_every: PositiveInt = 4

    @model_validator(mode="after")
    def _of_weights(self) -> Pruning:
        if not isinstance(self.keep, PerLayer | WholeNetwork):
            raise ValueError(f"keep: {self.keep.key()}: truncations choose ranks by weights")  # noqa: TRY004
        return self

    @property
    def can_pull(self) -> bool:
        """Whether a nuclear weight would act."""
        return self.nuclear_every_step or self.period is not None

    @property
    def truncates(self) -> bool:
        """Whether truncations replace weights."""
        return self.projection and self.period is not None


@checked(frozen=True, kw_only=True, config=STRICT)
class Joint:
    """A training for many ranks at once (Decomposable-Net, arXiv 1910.13141v3).

    Attributes:
        scheme: how a weight is unfolded into a matrix.
        alpha: weight of the low-rank network's loss; the full one's is 1 - alpha.
        lowest: the smallest share of all singular values that is drawn.
        highest: the largest.
        rank_min: the smallest rank of a layer.
        layers: which may be cut, as in `Pruning`.
    """

    scheme: Literal["channel", "spatial"] = "channel"
    alpha: Part = 0.5
    lowest: Share = 0.01
    highest: Share = 0.25
    rank_min: PositiveInt = 5
    layers: Layers = AUTO

    @model_validator(mode="after")
    def _in_order(self) -> Joint:
        _check_order(self.lowest, self.highest)
        return self


@checked(frozen=True, kw_only=True, config=STRICT)
class Elastic:
    """A training of factors nested by rank, for every budget.

    Attributes:
        scheme: how a weight is unfolded into a matrix.
        lowest: the smallest speedup that is trained.
        highest: the largest, or what can be reached if that is less.
        draws: networks of each batch.
        spread: standard deviation of a layer's place among the budgets around the network's.
        images: training images whose activations weigh the first factors; 0 uses weights alone.
        layers: which may be cut, as in `Pruning`.
    """

    scheme: Scheme = "spatial"
    lowest: Factor = 1.5
    highest: Factor = 6.0
    draws: PositiveInt = 2
    spread: NonNegative = 1.0
    images: Count = 512
    layers: Layers = AUTO

    @model_validator(mode="after")
    def _in_order(self) -> Elastic:
        _check_order(self.lowest, self.highest)
        return self


def _check_order(lowest: float, highest: float) -> None:
    if lowest > highest:
        raise ValueError(f"lowest: {lowest:g} is above highest ({highest:g})")


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
    without `pruning`, `joint` and `elastic` it is an ordinary training. Each of `cuts` becomes a
    point; with `fine_tuning` the one cut is fine-tuned into another. Those of `screening` are
    scored on `screening_images` validation images first, survivors on all; cuts out of reach are
    left out. After each epoch in `rungs` the report has the scores of a cut on as many images. With
    `score_uncut` the uncut network is scored too. `baseline` names the trial whose weights a start
    from the baseline takes. With `fit_on_validation` validation images are trained on.

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
    pruning: Pruning | None
    cuts: tuple[Cut, ...]
    method: MethodName | None = None
    joint: Joint | None = None
    elastic: Elastic | None = None
    distillation: Distillation | None = None
    fine_tuning: Training | None = None
    screening: tuple[Cut, ...] = ()
    screening_images: PositiveInt = 1000
    rungs: tuple[PositiveInt, ...] = ()
    score_uncut: bool = False
    threads: Threads = 1
    device: Device = "cpu"
    split_seed: Seed = 0
    baseline: Name = "baseline"
    fit_on_validation: bool = False
    weights_of: Name | None = None

    @model_validator(mode="after")
    def _one_way_to_train(self) -> TrialSpec:
        if sum(part is not None for part in (self.pruning, self.joint, self.elastic)) > 1:
            raise ValueError("takes one of pruning, joint and elastic")
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
