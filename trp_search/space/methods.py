"""The methods that a space can name: which entries each reads, and the trial that these stand for.

A further method is the module that does its work and one line in `METHODS`; its name goes into
`records.kinds`, and entries of its own into `varied`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from trp_search.records import Cut, Error, Joint, Method, Pruning, Reconstruct, keep_of

Setting = Mapping[str, Any]

JOINT_PASSES = 2  # of a joint loss through the network: in full, and truncated

# Where an entry asks for calibration and does not say how many images.
IMAGES = 1000

_EVERY = {"method", "layers", "reestimate_batch_norm", "batch_norm_images"}
_EVERY |= {
    "fine_tuning_epochs",
    "fine_tuning_learning_rate",
    "distillation",
    "distillation_temperature",
}
_AMOUNT = {"energy", "speedup", "cut_energy", "cut_value", "cut_speedup", "cut_evbmf", "multiple"}
_SVD = _AMOUNT | {"scheme", "allocation", "calibration_images", "reconstruct"}
_NUCLEAR = {"nuclear_weight", "nuclear_weight_per_step", "nuclear_every_step", "period"}
_JOINT = {"joint_alpha", "joint_lowest", "joint_highest", "joint_rank_min"}


SHARED = ("layers", "reestimate_batch_norm", "batch_norm_images")  # by all cuts of a setting


@dataclass(frozen=True, kw_only=True)
class Way:
    """What a method makes of a setting.

    Attributes:
        reads: entries of a space that matter to it; those of `training` do where it trains.
        cut: what the trained network is cut by.
        trains: whether it trains before the cut; else it cuts the baseline.
        pruning: Trained Rank Pruning's settings, if it is that.
        joint: the joint loss's settings, if it has one.
    """

    reads: frozenset[str]
    cut: Callable[[Setting], Cut]
    trains: bool = True
    pruning: Callable[[Setting], Pruning | None] = lambda _: None
    joint: Callable[[Setting], Joint | None] = lambda _: None

    def uses(self, name: str) -> bool:
        """Whether the entry `name` matters to it."""
        known = any(name in way.reads for way in METHODS.values())
        return name in self.reads if known else self.trains


def nuclear_weight(setting: Setting) -> float:
    """The paper's lambda; a weight per step is spread over the period that it acts in."""
    weight: float = setting.get("nuclear_weight", 0.0)
    per_step: float | None = setting.get("nuclear_weight_per_step")
    if setting["nuclear_every_step"]:
        return weight if per_step is None else per_step
    if setting["period"] == "never":
        return 0.0
    return weight if per_step is None else per_step * setting["period"]


def svd_cut(setting: Setting, **own: Any) -> Cut:  # noqa: ANN401  fields of a cut
    """What a trial is cut by: what the cut entries say, or else what it was trained towards."""
    amounts = [(name, setting.get(f"cut_{name}")) for name in ("value", "energy", "speedup")]
    amounts += [("evbmf", setting.get("cut_evbmf") or None)]
    amounts += [(name, setting.get(name)) for name in ("speedup", "energy")]
    keep = next(keep_of(name, given) for name, given in amounts if given is not None)
    names = ("scheme", "allocation", "multiple", "calibration_images", *SHARED)
    fields = {name: setting[name] for name in names} | own
    fits = fields["scheme"] == "channel"
    reconstruct: Reconstruct = setting.get("reconstruct", "none") if fits else "none"
    if reconstruct != "none":
        fields["calibration_images"] = fields["calibration_images"] or IMAGES
    return Cut(keep=keep, reconstruct=reconstruct, **fields)


def _pruning(setting: Setting, **own: Any) -> Pruning:  # noqa: ANN401  fields of a pruning
    names = ("scheme", "projection", "nuclear_every_step", "layers")
    fields = {name: setting[name] for name in names if name in setting} | own
    aims = [(name, setting.get(name)) for name in ("speedup", "energy")]
    return Pruning(
        keep=next(keep_of(name, given) for name, given in aims if given is not None),
        period=None if setting["period"] == "never" else setting["period"],
        nuclear_weight=nuclear_weight(setting),
        **fields,
    )


def _nuclear(setting: Setting) -> Pruning:
    return _pruning(setting, projection=False)


def _joint(setting: Setting) -> Joint:
    names = ("alpha", "lowest", "highest", "rank_min")
    given = {name: setting[f"joint_{name}"] for name in names if f"joint_{name}" in setting}
    return Joint(scheme=setting["scheme"], layers=setting["layers"], **given)


def _pooled(setting: Setting) -> Cut:
    return svd_cut({**setting, "reconstruct": "none"}, allocation="pooled", calibration_images=0)


def _tucker(setting: Setting) -> Cut:
    return svd_cut(setting, scheme="tucker", calibration_images=0)


def _by_error(setting: Setting, *, scheme: str) -> Cut:
    fields: dict[str, Any] = {name: setting[name] for name in SHARED}
    return Cut(
        scheme=scheme,  # type: ignore[arg-type]
        keep=Error(setting["error"]),
        calibration_images=setting["calibration_images"] or IMAGES,
        **fields | {"layers": "all"},
    )


METHODS: dict[Method, Way] = {
    "trp": Way(
        reads=frozenset(_EVERY | _SVD | _NUCLEAR | {"start", "projection"}),
        pruning=_pruning,
        cut=svd_cut,
    ),
    "nuclear": Way(
        reads=frozenset(_EVERY | _SVD | _NUCLEAR | {"start"}), pruning=_nuclear, cut=svd_cut
    ),
    "plain": Way(reads=frozenset(_EVERY | _SVD), trains=False, cut=svd_cut),
    "decomposable": Way(
        reads=frozenset(_EVERY | _AMOUNT | _JOINT | {"start", "scheme"}), joint=_joint, cut=_pooled
    ),
    "tucker": Way(reads=frozenset(_EVERY | _AMOUNT | {"allocation"}), trains=False, cut=_tucker),
    "ddlr": Way(
        reads=frozenset(_EVERY | {"error", "calibration_images"}),
        trains=False,
        cut=lambda setting: _by_error(setting, scheme="ddlr-style"),
    ),
    "net-trim": Way(
        reads=frozenset(_EVERY | {"error", "calibration_images"}),
        trains=False,
        cut=lambda setting: _by_error(setting, scheme="net-trim"),
    ),
}
