"""Trained Rank Pruning (arXiv 1812.02402, 2004.14566), and its nuclear term alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

from typing_extensions import override

from trp_search.methods.method import EVERY, PAIRS, Fields, Method, pairs
from trp_search.records import Cut, Pruning

if TYPE_CHECKING:
    from torch import Tensor

    from trp_search.training.hook import Beginning, Hook, Samples

_NUCLEAR = {"nuclear_weight", "nuclear_every_step", "period"}
_NUCLEAR |= {"truncation_images", "truncation_images_every"}


class _Pruned(Method):
    """Trains with truncations or the nuclear term, then cuts into pairs."""

    trains = True
    part = "pruning"
    reads = EVERY | PAIRS | _NUCLEAR | {"start"}

    @override
    def cut(self, fields: Fields) -> Cut:
        return pairs(fields)

    @override
    def trained(self, fields: Fields) -> Pruning:
        made = Pruning(**fields)
        idle: dict[str, Any] = {} if made.can_pull else {"nuclear_weight": 0.0}
        if not made.calibration_images:
            idle["calibration_every"] = Pruning.calibration_every
        return dataclasses.replace(made, **idle)

    @override
    def hook(self, begun: Beginning) -> Hook:
        from trp_search.training.regulariser import TrainedRankPruning

        assert begun.spec.pruning is not None
        settings = dict(vars(begun.spec.pruning))
        images = settings.pop("calibration_images")
        calibration = _Again(samples=begun.samples, images=images) if images else None
        return TrainedRankPruning(
            begun.network,
            begun.example_input,
            **settings,
            calibration=calibration,
            times=begun.times,
        )


@dataclass(frozen=True, kw_only=True)
class _Again:
    """A number of training images, the same each time they are read."""

    samples: Samples
    images: int

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self.samples(self.images))


@final
class Trp(_Pruned):
    """Truncates weights while it trains."""

    name = "trp"
    label = "TRP"
    reads = _Pruned.reads | {"projection"}

    @override
    def called(self, settings: Fields) -> str:
        return f"{self.label} + nuclear" if settings.get("nuclear_weight") else self.label


@final
class Nuclear(_Pruned):
    """Pulls weights by the nuclear term alone."""

    name = "nuclear"
    label = "nuclear"
    colour = "#5f83a8"

    @override
    def problems(self, possible: Mapping[str, tuple[Any, ...]]) -> Iterator[tuple[str, str]]:
        if not any(possible.get("nuclear_weight", ())):
            yield "nuclear_weight", "is missing or 0, and method nuclear needs it"
        if set(possible["period"]) == {"never"} and not all(possible["nuclear_every_step"]):
            yield "period", "is never, when the term of method nuclear would not act"

    @override
    def trained(self, fields: Fields) -> Pruning:
        return super().trained({**fields, "projection": False})
