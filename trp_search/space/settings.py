"""The one codec of settings: from entries of a space to fields of a trial, and back.

A trial's specification is written from entries (`written`) and read back as entries (`flat`);
points, the page, warm starts and studies all use that.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from trp_search.methods import METHODS
from trp_search.methods.method import IMAGES
from trp_search.records import (
    KEEPS,
    TAKES,
    Cut,
    Keep,
    PerLayer,
    Training,
    TrialSpec,
    WholeNetwork,
    keep_of,
)
from trp_search.space.entries import Scalar, label

Setting: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The parts of a trial.

    Attributes:
        cut: that of the point in question, if it is cut.
        own: the trial's own cut.
        tuned: whether the point was fine-tuned after the cut.
    """

    trial: TrialSpec
    cut: Cut | None
    own: Cut | None
    tuned: bool

    def part(self, name: str) -> object:
        """A part by its name: one of the fields here, or of the trial's."""
        if name == "fine_tuning" and not self.tuned:
            return None
        return getattr(self, name) if name in vars(self) else getattr(self.trial, name)

    @property
    def learns(self) -> bool:
        """Whether it trains, before the cut or after."""
        return self.trial.training is not None or self.part("fine_tuning") is not None


@dataclass(frozen=True, kw_only=True)
class Entry:
    """The place of an entry in a trial.

    Attributes:
        places: `part.field`; read from the first part that exists, written to all.
        write: from an entry's value to a field's.
        read: back; None if the entry has no value.
        absent: the entry's value if a trial has no such part.
        acts: whether it concerns a trial.
        alike: other values that make the same trial.
        recipe: whether it describes training and measuring, not what is done to the network.
    """

    places: tuple[str, ...]
    write: Callable[[Any], Any] = lambda value: value
    read: Callable[[Any, Parts], Scalar | None] = lambda value, _: (
        None if value is None else label(value)
    )
    absent: Scalar | None = None
    acts: Callable[[Parts], bool] = lambda _: True
    alike: Callable[[Any, Parts], tuple[Scalar, ...]] = lambda *_: ()
    recipe: bool = False

    def value(self, parts: Parts) -> Scalar | None:
        """The entry's value for a trial, None if it does not concern it."""
        if not self.acts(parts):
            return None
        for place in self.places:
            part, field = place.split(".")
            if (found := parts.part(part)) is not None:
                return self.read(getattr(found, field), parts)
        return self.absent if parts.trial.method is not None else None


def written(part: str, setting: Setting) -> dict[str, Any]:
    """The fields of a trial's part for a setting; empty if the part is off (None, False)."""
    found: dict[str, Any] = {}
    for name, entry in ENTRIES.items():
        value = setting.get(name)
        for place in entry.places:
            if place.startswith(f"{part}.") and value is not None:
                field = place.removeprefix(f"{part}.")
                made = entry.write(value)
                found |= {} if made is None and field == "keep" else {field: made}
    return found


def parts_of(spec: TrialSpec, cut: Cut | None = None, *, tuned: bool = True) -> Parts:
    """The parts of a trial, with its own cut or another one."""
    own = spec.cuts[0] if spec.cuts and spec.method is not None else None
    return Parts(trial=spec, cut=cut, own=own, tuned=tuned)


def flat(parts: Parts, uses: Callable[[str], bool] = lambda _: True) -> dict[str, Scalar]:
    """A trial's settings by the names of entries, for those that it `uses`."""
    found = {name: entry.value(parts) for name, entry in ENTRIES.items() if uses(name)}
    return {name: value for name, value in found.items() if value is not None}


def _kept(name: str, kind: type[Keep], *places: str) -> Entry:
    """An entry for how much is kept; one without an amount is true or false."""
    switch = kind.is_switch()

    def read(keep: Keep, _: Parts) -> Scalar | None:
        return keep.amount if isinstance(keep, kind) else False if switch else None

    def write(amount: Scalar) -> Keep | None:
        assert not isinstance(amount, str), name
        return None if switch and not amount else keep_of(kind, amount)

    return Entry(places=places, read=read, write=write)


def _passes(parts: Parts) -> int:
    method = parts.trial.method
    return 1 if method is None else METHODS[method].passes


def _epochs(own: int, parts: Parts) -> Scalar:
    """A trial's epochs in total: a joint loss takes two passes, and fine-tuning its share."""
    passes = _passes(parts)
    tuning = parts.part("fine_tuning")
    return passes * own + (tuning.epochs if isinstance(tuning, Training) else 0)


def _rounded_down(total: int, parts: Parts) -> tuple[Scalar, ...]:
    """What passes over the images leave over, or make up where there would be none."""
    least = parts.trial.training is not None and parts.trial.training.epochs == 1
    left = range(1, _passes(parts))
    return (*(total + more for more in left), *(total - less for less in left if least))


def _pulls(parts: Parts) -> bool:
    pruning = parts.trial.pruning
    return pruning is not None and pruning.can_pull


def _weighs(parts: Parts) -> bool:
    pruning = parts.trial.pruning
    return pruning is not None and pruning.calibration_images > 0


def _can_fit(parts: Parts) -> bool:
    return parts.cut is not None and "reconstruct" in TAKES[parts.cut.scheme]


def _unpruned(parts: Parts) -> bool:
    return parts.cut is None or parts.cut.importance is None


def _by_default(images: int, parts: Parts) -> tuple[Scalar, ...]:
    asked = parts.cut is not None and (
        parts.cut.solved is not None
        or parts.cut.fits
        or parts.cut.factors
        or parts.cut.reconstruct != "none"
    )
    return (0,) if asked and images == IMAGES else ()


def _never(period: int | None, _: Parts) -> Scalar:
    return "never" if period is None else period


TRAINED = {n: kind for n, kind in KEEPS.items() if issubclass(kind, PerLayer | WholeNetwork)}
SOLVED = {name: kind for name, kind in KEEPS.items() if name not in TRAINED}

_WAYS = dict.fromkeys(method.part for method in METHODS.values() if method.part)

# A training has a `precision` too, and parameters have one name each.
SERVED = "served_precision"

# In the order in which they are drawn.
ENTRIES: dict[str, Entry] = {
    "method": Entry(places=("trial.method",)),
    "scheme": Entry(  # a cut of nested factors is by the scheme that they were trained in
        places=("elastic.scheme", "cut.scheme", "pruning.scheme", "joint.scheme")
    ),
    "start": Entry(places=("trial.start",)),
    SERVED: Entry(places=("trial.int8",), read=lambda tool, _: "int8" if tool else "float32"),
    **{name: _kept(name, kind, "pruning.keep", "own.keep") for name, kind in TRAINED.items()},
    "period": Entry(
        places=("pruning.period",),
        write=lambda value: None if value == "never" else value,
        read=_never,
    ),
    "projection": Entry(places=("pruning.projection",)),
    "nuclear_weight": Entry(places=("pruning.nuclear_weight",), acts=_pulls),
    "nuclear_every_step": Entry(places=("pruning.nuclear_every_step",)),
    "layers": Entry(places=tuple(f"{part}.layers" for part in ("cut", *_WAYS))),
    "truncation_images": Entry(places=("pruning.calibration_images",)),
    "truncation_images_every": Entry(places=("pruning.calibration_every",), acts=_weighs),
    **{f"cut_{name}": _kept(name, kind, "cut.keep") for name, kind in TRAINED.items()},
    **{name: _kept(name, kind, "cut.keep") for name, kind in SOLVED.items()},
    "allocation": Entry(places=("cut.allocation", "slimmable.allocation")),
    "multiple": Entry(places=("cut.multiple",)),
    "calibration_images": Entry(places=("cut.calibration_images",), alike=_by_default, recipe=True),
    "importance": Entry(  # a cut of a slimmable network takes its channels as they are
        places=("slimmable.importance", "cut.importance")
    ),
    "factors": Entry(
        places=("cut.factors",),
        write=lambda value: None if value == "none" else value,
        read=lambda value, parts: None if _unpruned(parts) else value or "none",
    ),
    "reconstruct": Entry(places=("cut.reconstruct",), acts=_can_fit),
    "joint_alpha": Entry(places=("joint.alpha",)),
    "joint_lowest": Entry(places=("joint.lowest",)),
    "joint_highest": Entry(places=("joint.highest",)),
    "joint_rank_min": Entry(places=("joint.rank_min",)),
    "elastic_lowest": Entry(places=("elastic.lowest",)),
    "elastic_highest": Entry(places=("elastic.highest",)),
    "elastic_spread": Entry(places=("elastic.spread",)),
    "elastic_images": Entry(places=("elastic.images",)),
    "slimmable_highest": Entry(places=("slimmable.highest",)),
    "fine_tuning_epochs": Entry(places=("fine_tuning.epochs",), absent=0, recipe=True),
    "fine_tuning_learning_rate": Entry(places=("fine_tuning.learning_rate",), recipe=True),
    "distillation": Entry(
        places=("distillation.weight",), absent=0.0, acts=lambda p: p.learns, recipe=True
    ),
    "distillation_temperature": Entry(
        places=("distillation.temperature",), acts=lambda p: p.learns, recipe=True
    ),
    "reestimate_batch_norm": Entry(places=("cut.reestimate_batch_norm",), recipe=True),
    "batch_norm_images": Entry(places=("cut.batch_norm_images",), recipe=True),
    **{
        field.name: Entry(places=(f"training.{field.name}",), recipe=True)
        for field in dataclasses.fields(Training)
    },
    "epochs": Entry(places=("training.epochs",), read=_epochs, alike=_rounded_down, recipe=True),
}
