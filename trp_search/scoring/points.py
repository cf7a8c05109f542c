"""From a scored network to its point."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from trp_search.methods import uses
from trp_search.records import Cut, Layer, Point, Prediction, Role, TrialSpec
from trp_search.scoring.candidate import Cost, Scored
from trp_search.space import Scalar
from trp_search.space.settings import flat, parts_of

Predict = Callable[[Sequence[Layer]], Prediction | None]


@dataclass(frozen=True, kw_only=True)
class PointFactory:
    """Data shared by the points of one training: its settings, the dense cost, its time.

    All are in float32: a trial that asks for int8 has its own point beside them. `by_ranks` they
    are those of a search over ranks; a `winner` of it is fine-tuned, beside the point that it was.
    `predict` tells a network's time on the search's target, if it has one.
    """

    spec: TrialSpec
    dense: Cost
    seconds: float
    predict: Predict
    by_ranks: bool = False
    winner: bool = False

    def point(
        self, scored: Scored, cut: Cut | None, *, screened_out: bool = False, untuned: bool = False
    ) -> Point:
        """The point of `scored`, cut by `cut`.

        `screened_out` says that `scored` was scored on a sample only, `untuned` that its
        fine-tuning is another point.
        """
        found, spec = scored.validation, dataclasses.replace(self.spec, int8=None)
        name, role = self._identity(cut)
        if untuned:
            name, role = f"{name}-untuned", "derived" if role == "trial" else role
        return Point(
            id=name,
            trial=spec.name,
            role="screened_out" if screened_out else role,
            score=found.score,
            loss=found.loss,
            macs=scored.made.cost.macs,
            dense_macs=self.dense.macs,
            parameters=scored.made.cost.parameters,
            dense_parameters=self.dense.parameters,
            bytes=scored.made.cost.bytes,
            dense_bytes=self.dense.bytes,
            scheme=None if cut is None else cut.scheme,
            cut=cut,
            settings=settings_of(spec, cut, tuned=cut in spec.cuts[:1] and not untuned),
            layers=scored.made.layers,
            widths=scored.made.widths,
            batch_norm=scored.made.batch_norm,
            counted=scored.made.cost.counted,
            seconds=self.seconds,
            untuned=untuned,
            predicted=self.predict(scored.made.layers),
            by_ranks=self.by_ranks,
        )

    def name(self, cut: Cut) -> str:
        """The id of the point of `cut`."""
        return self._identity(cut)[0]

    def _identity(self, cut: Cut | None) -> tuple[str, Role]:
        """A point's id and role: the first cut has the trial's name, a further cut both names."""
        spec = self.spec
        own, further = cut in spec.cuts[:1], "uncut" if cut is None else cut.name
        if self.winner:
            return f"{spec.name}-{further}-tuned", "derived"
        if spec.fit_on_validation:
            return spec.name if own else f"{spec.name}-{further}", "refit"
        if spec.kind != "baseline":
            role: Role = "trial" if own and spec.int8 is None else "derived"
            return spec.name if own else f"{spec.name}-{further}", role
        return (spec.name, "baseline") if cut is None else (f"plain-{cut.name}", "control")


def contradiction(point: Point, spec: TrialSpec) -> str | None:
    """The first setting in which a trial's own point differs from its specification, or None."""
    if point.cut != spec.cuts[0]:
        return "cut"
    asked = settings_of(spec, point.cut, tuned=True)
    told = point.settings
    return next((name for name in asked if name in told and asked[name] != told[name]), None)


def settings_of(spec: TrialSpec, cut: Cut | None, *, tuned: bool) -> dict[str, Scalar | None]:
    """The trial's settings, flat, for readers."""
    own = partial(uses, spec.method) if spec.method else (lambda _: True)
    return {**flat(parts_of(spec, cut, tuned=tuned), own), "seed": spec.seed}
