"""What a trial reports: epochs, layers, points, scores."""

from __future__ import annotations

from dataclasses import field

from pydantic.dataclasses import dataclass as checked

from trp_search.records.kinds import (
    STRICT,
    CutScheme,
    Ending,
    LayerScheme,
    PositiveInt,
    Role,
)
from trp_search.records.specs import Cut


@checked(frozen=True, kw_only=True, config=STRICT)
class Standing:
    """What a network under training would be if it were cut now; what a rung compares."""

    accuracy: float
    speedup: float
    parameters: int


@checked(frozen=True, kw_only=True, config=STRICT)
class EpochReport:
    """One epoch of one trial; `loss` is None when it was not finite.

    `standing` is there after the epochs that the specification calls rungs.
    """

    trial: str
    epoch: int
    epochs: int
    loss: float | None
    accuracy: float
    learning_rate: float
    seconds: float
    standing: Standing | None = None


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
    rank: int | None
    full_rank: int | None
    macs: int
    dense_macs: int
    parameters: int
    dense_parameters: int
    reason: str | None
    kept: dict[LayerScheme, float] = field(default_factory=dict)
    spectrum: tuple[float, ...] = ()
    rank_in: int | None = None


@checked(frozen=True, kw_only=True, config=STRICT)
class Point:
    """A scored network. Accuracy is on validation; test lives in its own file.

    Attributes:
        id: unique in the run: `baseline`, `plain-channel-0.9`, a trial's name or that and a cut's.
        role: `trial` points, cut as their trial was told to be, and `derived` ones, further cuts of
            the same weights, make the front; a `raced` one fell back on a sample of the validation
            images and was not scored on more; `control` points are cuts of the plain network; a
            `refit` point was trained on the validation images too: its accuracy says nothing.
        settings: what was varied, flat, for people.
        batch_norm: what was done to the statistics after the cut.
        seconds: training time of the trial.
    """

    id: str
    trial: str
    role: Role
    accuracy: float
    correct: int
    images: int
    loss: float
    macs: PositiveInt
    dense_macs: PositiveInt
    parameters: int
    dense_parameters: int
    scheme: CutScheme | None
    cut: Cut | None
    settings: dict[str, float | int | str | bool | None]
    layers: tuple[Layer, ...]
    batch_norm: str
    seconds: float

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
    """Accuracy of one point on the test split, made after every choice."""

    __test__ = False  # not a pytest class

    point: str
    accuracy: float
    correct: int
    images: int


@checked(frozen=True, kw_only=True, config=STRICT)
class Repeat:
    """What a point's training came to with another seed, `trial`; accuracy is on validation."""

    point: str
    trial: str
    accuracy: float
    correct: int
    images: int
    speedup: float


@checked(frozen=True, kw_only=True, config=STRICT)
class TrialResult:
    """How a trial ended: points, or what kept it from its own (`diverged`, `failed` or `stopped`).

    `refused` says, by name, why a cut that ran for a point is none.
    """

    trial: str
    points: tuple[Point, ...]
    diverged: str | None = None
    failed: str | None = None
    stopped: str | None = None
    refused: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0

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
