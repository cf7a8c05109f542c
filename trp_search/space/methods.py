"""The methods that a space can name: the entries that each reads, and the trial they make.

A further method is the module that does its work and one line in `METHODS`; its name goes into
`records.kinds`, and entries of its own into `search_fields` and `settings`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

from trp_search.records import Cut, CutScheme, Joint, Method, Pruning
from trp_search.space.settings import IMAGES, SOLVED, TRAINED, Setting, written

_EVERY = {"method", "layers", "reestimate_batch_norm", "batch_norm_images"}
_EVERY |= {
    "fine_tuning_epochs",
    "fine_tuning_learning_rate",
    "distillation",
    "distillation_temperature",
}
_AMOUNT = {*TRAINED, *(f"cut_{name}" for name in TRAINED), "multiple"}
_SVD = _AMOUNT | {"scheme", "allocation", "calibration_images", "reconstruct"}
_NUCLEAR = {"nuclear_weight", "nuclear_every_step", "period"}
_JOINT = {"joint_alpha", "joint_lowest", "joint_highest", "joint_rank_min"}
_SOLVED = {*SOLVED, "calibration_images"}


SHARED = ("layers", "reestimate_batch_norm", "batch_norm_images")  # by all cuts of a setting


@dataclass(frozen=True, kw_only=True)
class Way:
    """A method's translation of a setting into a trial, with the entries that it reads.

    Attributes:
        reads: entries of a space that concern it; those of `training` do if it trains.
        cut: the trained network's cut.
        trains: whether it trains before the cut; otherwise it cuts the baseline.
        pruning: Trained Rank Pruning's settings, if it is that.
        joint: the joint loss's settings, if it has one.
    """

    reads: frozenset[str]
    cut: Callable[[Setting], Cut]
    trains: bool = True
    pruning: Callable[[Setting], Pruning | None] = lambda _: None
    joint: Callable[[Setting], Joint | None] = lambda _: None

    def uses(self, name: str) -> bool:
        """Whether the entry `name` concerns it."""
        known = any(name in way.reads for way in METHODS.values())
        return name in self.reads if known else self.trains


def _svd(setting: Setting) -> Cut:
    """The cut entries' keep, or else the one that was trained towards."""
    fields = written("own", setting) | written("cut", setting)
    if fields["scheme"] != "channel":
        fields.pop("reconstruct", None)
    if fields.get("reconstruct", "none") != "none":
        fields["calibration_images"] = fields.get("calibration_images") or IMAGES
    return Cut(**fields)


def _pooled(setting: Setting) -> Cut:
    fields = written("own", setting) | written("cut", setting)
    return Cut(**fields | {"allocation": "pooled"})


def _tucker(setting: Setting) -> Cut:
    fields = written("own", setting) | written("cut", setting)
    return Cut(**fields | {"scheme": "tucker"})


def _by_error(setting: Setting, *, scheme: CutScheme) -> Cut:
    fields = written("cut", setting)
    images = fields.get("calibration_images") or IMAGES
    return Cut(**fields | {"scheme": scheme, "calibration_images": images, "layers": "all"})


def _pruning(setting: Setting) -> Pruning:
    made = Pruning(**written("pruning", setting))
    return made if made.can_pull else dataclasses.replace(made, nuclear_weight=0.0)


def _nuclear(setting: Setting) -> Pruning:
    return _pruning({**setting, "projection": False})


METHODS: dict[Method, Way] = {
    "trp": Way(
        reads=frozenset(_EVERY | _SVD | _NUCLEAR | {"start", "projection"}),
        pruning=_pruning,
        cut=_svd,
    ),
    "nuclear": Way(
        reads=frozenset(_EVERY | _SVD | _NUCLEAR | {"start"}), pruning=_nuclear, cut=_svd
    ),
    "plain": Way(reads=frozenset(_EVERY | _SVD), trains=False, cut=_svd),
    "decomposable": Way(
        reads=frozenset(_EVERY | _AMOUNT | _JOINT | {"start", "scheme"}),
        joint=lambda setting: Joint(**written("joint", setting)),
        cut=_pooled,
    ),
    "tucker": Way(reads=frozenset(_EVERY | _AMOUNT | {"allocation"}), trains=False, cut=_tucker),
    "ddlr": Way(
        reads=frozenset(_EVERY | _SOLVED),
        trains=False,
        cut=lambda setting: _by_error(setting, scheme="ddlr-style"),
    ),
    "net-trim": Way(
        reads=frozenset(_EVERY | _SOLVED),
        trains=False,
        cut=lambda setting: _by_error(setting, scheme="net-trim"),
    ),
}
