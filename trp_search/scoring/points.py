"""From a scored network to the point that stands for it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from trp_search.records import Cut, Error, Keep, Point, Role, TrialSpec
from trp_search.scoring.candidate import Cost, Scored


@dataclass(frozen=True, kw_only=True)
class PointFactory:
    """What the points of one training share: its settings, the dense cost, its time."""

    spec: TrialSpec
    dense: Cost
    seconds: float

    def point(
        self, scored: Scored, cut: Cut | None, *, screened_out: bool = False, untuned: bool = False
    ) -> Point:
        """The point of `scored`, cut by `cut`.

        `screened_out` says that it was scored on a sample alone, `untuned` that its fine-tuning is
        another point.
        """
        found = scored.validation
        name, role = self._identity(cut)
        if untuned:
            name, role = f"{name}-untuned", "derived" if role == "trial" else role
        return Point(
            id=name,
            trial=self.spec.name,
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
            settings=_settings(self.spec, cut, tuned=cut in self.spec.cuts[:1] and not untuned),
            layers=scored.made.layers,
            batch_norm=scored.made.batch_norm,
            seconds=self.seconds,
        )

    def name(self, cut: Cut) -> str:
        """The id of the point of `cut`."""
        return self._identity(cut)[0]

    def _identity(self, cut: Cut | None) -> tuple[str, Role]:
        """A point's id and role: a trial's first cut goes by its name, a further one by both."""
        spec = self.spec
        own, further = cut in spec.cuts[:1], "uncut" if cut is None else cut.name
        if spec.fit_on_validation:
            return spec.name if own else f"{spec.name}-{further}", "refit"
        if spec.kind != "baseline":
            return (spec.name, "trial") if own else (f"{spec.name}-{further}", "derived")
        return (spec.name, "baseline") if cut is None else (f"plain-{cut.name}", "control")


_Settings = dict[str, float | int | str | bool | None]


def contradiction(point: Point, spec: TrialSpec) -> str | None:
    """The first setting that a trial's own point has otherwise than its specification, or None."""
    if point.cut != spec.cuts[0]:
        return "cut"
    asked = _settings(spec, point.cut, tuned=True)
    return next((k for k, v in point.settings.items() if k in asked and asked[k] != v), None)


def _settings(spec: TrialSpec, cut: Cut | None, *, tuned: bool) -> _Settings:
    """What the trial was set to, flat, for people."""
    found: _Settings = {"method": spec.method} if spec.method else {}
    found |= {"start": spec.start, "seed": spec.seed}
    for prefix, part in (("", spec.pruning), ("joint_", spec.joint), ("", spec.training)):
        if part is not None:
            values = {f.name: getattr(part, f.name) for f in dataclasses.fields(part)}
            flat = {k: v for k, v in values.items() if not isinstance(v, tuple | Keep)}
            found |= {prefix + k: v for k, v in flat.items()}
    if spec.pruning is not None and spec.pruning.period is None:
        found["period"] = "never"
    if spec.pruning is not None:
        found |= dict.fromkeys(("energy", "speedup"))
        found |= {spec.pruning.keep.key(): spec.pruning.keep.amount}
    if spec.method and (spec.training is not None or tuned):
        asked = spec.distillation
        found["distillation"] = 0.0 if asked is None else asked.weight
        if asked is not None:
            found["distillation_temperature"] = asked.temperature
    if spec.fine_tuning is not None:
        found["fine_tuning_epochs"] = spec.fine_tuning.epochs if tuned else 0
        found["fine_tuning_learning_rate"] = spec.fine_tuning.learning_rate
    return found if cut is None else found | _of_cut(cut)


def _of_cut(cut: Cut) -> _Settings:
    found: _Settings = {"scheme": cut.scheme}
    found |= {f"cut_{name}": None for name in ("energy", "value", "speedup")}
    if not isinstance(cut.keep, Error):
        found |= {f"cut_{cut.keep.key()}": cut.keep.amount}
    found["calibration_images"] = cut.calibration_images
    if isinstance(cut.keep, Error):
        found["error"] = cut.keep.error
    if cut.reconstruct != "none":
        found["reconstruct"] = cut.reconstruct
    return found
