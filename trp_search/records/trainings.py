"""How methods train: with truncations, by a joint loss, for every budget."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass as checked

from trp_search.records.keep import Keep, PerLayer, WholeNetwork
from trp_search.records.keeps import Energy
from trp_search.records.kinds import (
    STRICT,
    Count,
    Factor,
    NonNegative,
    PairScheme,
    Part,
    PositiveInt,
    Scheme,
    Share,
)
from trp_search.records.layers import AUTO, Layers


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
        calibration_images: training images whose activations weight the truncations' errors; 0 uses
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
        images: training images whose activations weight the first factors; 0 uses weights alone.
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


@checked(frozen=True, kw_only=True, config=STRICT)
class Slimmable:
    """A training of a network at any width (universally slimmable, arXiv 1903.05134).

    Attributes:
        importance: by what channels are ordered before it begins; the leading ones stay longest.
        allocation: how many channels each group keeps at a budget, as in `Cut`.
        highest: the speedup of the narrowest network, or what can be reached if that is less.
        draws: networks of each batch beside the narrowest and the whole one.
        layers: whose outputs may leave, as in `Pruning`.
    """

    importance: Literal["magnitude", "bn-scale"] = "magnitude"
    allocation: Literal["knapsack", "uniform"] = "knapsack"
    highest: Annotated[Factor, Field(gt=1)] = 6.0
    draws: PositiveInt = 2
    layers: Layers = AUTO


Way: TypeAlias = Pruning | Joint | Elastic | Slimmable


def _check_order(lowest: float, highest: float) -> None:
    if lowest > highest:
        raise ValueError(f"lowest: {lowest:g} is above highest ({highest:g})")
