"""What a trial reports: epochs, layers, points, scores."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass as checked

from trp_search.records.kinds import (
    STRICT,
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
    Value,
)
from trp_search.records.scores import Score
from trp_search.records.specs import Cut

_Setting = float | Annotated[Most, Field(ge=-(10**15))] | str | bool | None


@checked(frozen=True, kw_only=True, config=STRICT)
class RungScore:
    """What a network under training would be if it were cut now; what a rung compares."""

    metric: Value
    speedup: Times
    parameters: Size
    bytes: Size


@checked(frozen=True, kw_only=True, config=STRICT)
class EpochReport:
    """One epoch of one trial; `loss` is None when it was not finite, `metric` is on validation.

    `rung_score` is there after the epochs that the specification calls rungs.
    """

    trial: Name
    epoch: Size
    epochs: Size
    loss: float | None
    metric: Value
    learning_rate: NonNegative
    seconds: Seconds
    rung_score: RungScore | None = None

    @model_validator(mode="after")
    def _within(self) -> EpochReport:
        if self.epoch > self.epochs:
            raise ValueError(f"epoch: {self.epoch} is above epochs ({self.epochs})")
        return self


@checked(frozen=True, kw_only=True, config=STRICT)
class Layer:
    """One layer of a cut network: its rank, or why it is dense; multiply-adds are per image.

    A Tucker layer has `rank_in` channels before its core and `rank` after it. A `sparse` one has no
    rank: its parameters are those that are not zero, and its multiply-adds are theirs.

    `kept` is the share of energy that each scheme on offer keeps at what the layer now costs;
    `spectrum` the singular values that the cut looked at (of the weight, or weighed by activations)
    over the largest one, at most 32 of them, evenly chosen from the first to the last.
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
        """All that it has, `rank` last; none of a dense or a sparse one."""
        return tuple(rank for rank in (self.rank_in, self.rank) if rank is not None)

    @property
    def is_sparse(self) -> bool:
        """Whether it is as it was but for zeros among its weights."""
        return self.scheme is not None and self.rank is None


@checked(frozen=True, kw_only=True, config=STRICT)
class Point:
    """A scored network; `score` and `loss` are on validation, test has a record of its own.

    Attributes:
        id: unique in the run: `baseline`, `plain-channel-0.9`, a trial's name or that and a cut's.
        role: `trial` points, cut as their trial was told to be, and `derived` ones, further cuts of
            the same weights, make the front; a `screened_out` one was behind on a sample of the
            validation images and was not scored on more; `control` points are cuts of the baseline;
            a `refit` point was trained on the validation images too: its accuracy says
            nothing.
        bytes: of the file of its weights, sparse layers as compressed rows would take them.
        settings: what was varied, flat, for people.
        batch_norm: what was done to the statistics after the cut.
        seconds: training time of the trial.
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

    @property
    def metric(self) -> float:
        """The value of the task's metric on validation."""
        return self.score.value

    @property
    def speedup(self) -> float:
        """Multiply-adds before / after."""
        return self.dense_macs / self.macs

    @property
    def searched(self) -> bool:
        """Whether a trial made it and it was scored in full, so that it may be on the front."""
        return self.role in ("trial", "derived")


@checked(frozen=True, kw_only=True, config=STRICT)
class TestScore:
    """One point on the test split, scored after every choice."""

    __test__ = False  # not a pytest class

    point: Name
    score: Score


@checked(frozen=True, kw_only=True, config=STRICT)
class Repeat:
    """What a point's training came to with another seed, `trial`; scored on validation."""

    point: Name
    trial: Name
    score: Score
    speedup: Times


@checked(frozen=True, kw_only=True, config=STRICT)
class TrialResult:
    """How a trial ended: points, or what kept it from its own (`diverged`, `failed` or `stopped`).

    `refused` says, by name, why a cut that ran for a point is none.
    """

    trial: Name
    points: tuple[Point, ...]
    diverged: str | None = None
    failed: str | None = None
    stopped: str | None = None
    refused: dict[str, str] = field(default_factory=dict)
    seconds: Seconds = 0.0

    @property
    def own(self) -> Point | None:
        """The point of the trial's name: cut as it was told, and fine-tuned if that was asked."""
        return next((point for point in self.points if point.id == self.trial), None)

    @property
    def ended_well(self) -> bool:
        """Whether the training ended and was scored."""
        return self.ending == "finished"

    @property
    def ending(self) -> Ending:
        """In which of four ways it ended."""
        kinds: tuple[Ending, ...] = ("failed", "diverged", "stopped")
        return next((kind for kind in kinds if getattr(self, kind) is not None), "finished")

    @property
    def why_not(self) -> str | None:
        """What kept the training from its end, if anything did."""
        return self.failed or self.diverged or self.stopped
