"""Results of a trial: epochs, layers, points, scores."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass as checked

from trp_search.records.cut import Cut
from trp_search.records.int8 import Int8
from trp_search.records.keeps import KEEPS
from trp_search.records.kinds import (
    STRICT,
    Bounded,
    Count,
    CutScheme,
    Ending,
    LayerScheme,
    Most,
    Name,
    NonNegative,
    Role,
    Rounded,
    Seconds,
    Size,
    Times,
    Widths,
)
from trp_search.records.latency import Predicted, Prediction
from trp_search.records.scores import Score

_Setting = float | Annotated[Most, Field(ge=-(10**15))] | str | bool | None


@checked(frozen=True, kw_only=True, config=STRICT)
class RungScore(Predicted):
    """The scores of a network in training if it were cut now; rungs compare them."""

    metric: Bounded
    speedup: Times
    parameters: Size
    bytes: Size
    predicted: Prediction | None = None


@checked(frozen=True, kw_only=True, config=STRICT)
class EpochReport:
    """One epoch of one trial; `loss` is None if it was not finite, `metric` is on validation.

    `rung_score` is set after the epochs that the specification names as rungs; `curve` has the
    scores of a few cuts of a training for every budget, the slowest first, on a sample of images.
    """

    trial: Name
    epoch: Size
    epochs: Size
    loss: float | None
    metric: Bounded
    learning_rate: NonNegative
    seconds: Seconds
    rung_score: RungScore | None = None
    curve: tuple[RungScore, ...] = ()

    @model_validator(mode="after")
    def _within(self) -> EpochReport:
        if self.epoch > self.epochs:
            raise ValueError(f"epoch: {self.epoch} is above epochs ({self.epochs})")
        return self


@checked(frozen=True, kw_only=True, config=STRICT)
class Layer:
    """One layer of a cut network: its rank, or why it is dense; multiply-adds are per image.

    Ranks of a grouped convolution are those of each group. A Tucker layer has `rank_in` channels
    before its core and `rank` after it. A `sparse` one has no rank: its parameters and
    multiply-adds count non-zeros. A `pruned` one has `rank` outputs left and `rank_in` inputs.

    `kept` is the share of energy that each candidate scheme keeps at the layer's new cost, with
    activations half of the outputs' and half of the weights' energy; `spectrum` the singular values
    that the cut used (of the weight, or weighed by activations) over the largest one, at most 32 of
    them, evenly chosen from the first to the last.
    """

    name: str
    scheme: LayerScheme | None
    rank: Count | None
    full_rank: Size | None
    macs: Count
    dense_macs: Count
    parameters: Count
    dense_parameters: Count
    reason: str | None
    kept: dict[LayerScheme, Rounded] = field(default_factory=dict)
    spectrum: Annotated[tuple[Rounded, ...], Field(max_length=32)] = ()
    rank_in: Count | None = None

    @model_validator(mode="after")
    def _of_something(self) -> Layer:
        if self.scheme is not None and not (self.dense_macs and self.dense_parameters):
            raise ValueError(f"layer {self.name!r} is {self.scheme} and costs nothing when dense")
        if self.kept and self.scheme not in self.kept:
            raise ValueError(f"layer {self.name!r}: kept lacks its own scheme")
        if (self.rank or 0) > (self.full_rank or 0):
            raise ValueError(f"layer {self.name!r}: rank {self.rank} is above {self.full_rank}")
        return self

    @property
    def ranks(self) -> tuple[int, ...]:
        """All its ranks, `rank` last; empty for a dense or a sparse layer."""
        return tuple(rank for rank in (self.rank_in, self.rank) if rank is not None)

    @property
    def is_sparse(self) -> bool:
        """Whether it is unfactored, with zeros among its weights."""
        return self.scheme == "sparse"


@checked(frozen=True, kw_only=True, config=STRICT)
class Point(Predicted):
    """A scored network; `score` and `loss` are on validation, test has a record of its own.

    Attributes:
        id: unique in the run: `baseline`, `plain-channel-0.9`, a trial's name or that and a cut's.
        role: `trial` points, cut as specified, and `derived` ones, further cuts of the same
            weights, form the front; a `screened_out` point fell behind on a sample of validation
            images and was not scored on all; `control` points are cuts of the baseline; a `refit`
            point was trained on the validation images too, so its validation score is meaningless.
        bytes: of the file of its weights, sparse layers counted as compressed rows; of an int8
            point of the tensors in its file.
        settings: the trial's settings, flat, for people.
        batch_norm: the treatment of its statistics after the cut.
        counted: how its multiply-adds were counted, if not by fvcore alone.
        seconds: training time of the trial.
        untuned: whether it is a cut before the fine-tuning that its trial asks for.
        predicted: its time on the space's target, if that was asked for.
        int8: how it was quantised; multiply-adds and layers are those of its float network, the
            score is its own.
        widths: inputs and outputs of the modules that lost channels, before any is factored.
        by_ranks: whether a search over ranks chose its ranks.
    """

    id: Name
    trial: Name
    role: Role
    score: Score
    loss: float
    macs: Size
    dense_macs: Size
    parameters: Size
    dense_parameters: Size
    bytes: Size
    dense_bytes: Size
    scheme: CutScheme | None
    cut: Cut | None
    settings: dict[str, _Setting]
    layers: tuple[Layer, ...]
    batch_norm: str
    seconds: Seconds
    counted: str | None = None
    untuned: bool = False
    predicted: Prediction | None = None
    int8: Int8 | None = None
    widths: Widths = field(default_factory=dict)
    by_ranks: bool = False

    @property
    def metric(self) -> float:
        """The value of the task's metric on validation."""
        return self.score.value

    @property
    def speedup(self) -> float:
        """Multiply-adds before / after."""
        return self.dense_macs / self.macs

    @property
    def told(self) -> dict[str, _Setting]:
        """The settings that say something; that a rule was not used says nothing."""
        off = {
            prefix + n for n, kind in KEEPS.items() if kind.is_switch() for prefix in ("", "cut_")
        }
        return {
            name: value
            for name, value in self.settings.items()
            if value is not None and (value is not False or name not in off)
        }

    @property
    def tuned(self) -> bool:
        """Whether its weights were fine-tuned after the cut."""
        return bool(self.settings.get("fine_tuning_epochs"))

    @property
    def winner(self) -> bool:
        """Whether it was fine-tuned because its ranks had won a search over them."""
        return self.by_ranks and self.tuned

    @property
    def searched(self) -> bool:
        """Whether it is a trial's and was scored in full, so that it may be on the front."""
        return self.role in ("trial", "derived")


@checked(frozen=True, kw_only=True, config=STRICT)
class TestScore:
    """One point on the test split, scored after every choice."""

    __test__ = False  # not a pytest class

    point: Name
    score: Score


@checked(frozen=True, kw_only=True, config=STRICT)
class Repeat:
    """A point's training repeated with another seed as `trial`; scored on validation."""

    point: Name
    trial: Name
    score: Score
    speedup: Times


@checked(frozen=True, kw_only=True, config=STRICT)
class TrialResult:
    """How a trial ended: with points, or why it has none (`diverged`, `failed` or `stopped`).

    `refused` says, by name, why a candidate cut gave no point; `out_of_reach`, that it failed
    because no ranks meet the budget of its settings.
    """

    trial: Name
    points: tuple[Point, ...]
    diverged: str | None = None
    failed: str | None = None
    out_of_reach: bool = False
    stopped: str | None = None
    refused: dict[str, str] = field(default_factory=dict)
    seconds: Seconds = 0.0

    @property
    def own(self) -> Point | None:
        """The point as specified: cut, and fine-tuned and in int8 if that was asked."""
        found = [p for p in self.points if p.id == self.trial or p.role == "trial"]
        return found[-1] if found else None

    @property
    def ended_well(self) -> bool:
        """Whether the training ended and was scored."""
        return self.ending == "finished"

    @property
    def ending(self) -> Ending:
        """Which of four ways it ended in."""
        kinds: tuple[Ending, ...] = ("failed", "diverged", "stopped")
        return next((kind for kind in kinds if getattr(self, kind) is not None), "finished")

    @property
    def why_not(self) -> str | None:
        """The reason why the training did not finish, if there is one."""
        return self.failed or self.diverged or self.stopped
