"""Cards of 0.1.0 (format 1) in today's words: the one place that knows what they said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors import safe_open

from trp_search.records import to_dict
from trp_search.records.scores import share
from trp_search.scoring.sizes import csr_bytes

Values = dict[str, Any]

_RENAMED = {"spread": "allocation"}
_SETTINGS = {
    "joint_scheme": "scheme",
    "joint_layers": "layers",
    "tuning_epochs": "fine_tuning_epochs",
    "tuning_learning_rate": "fine_tuning_learning_rate",
}
_KEPT = ("energy", "value", "ratio", "evbmf", "speedup", "parameters", "error")
_ROLES = {"raced": "screened_out"}
_WIDE = 4  # bytes of a weight: 0.1.0 wrote float32 alone


def card(old: Values, weights: Path) -> Values:
    """The card as today's version would have written it.

    It said nothing of the baseline's bytes: they are the bundle's own and those of the parameters
    that it is smaller by, true to within the names of tensors.

    Args:
        old: what the file holds.
        weights: the bundle's own.

    Raises:
        KeyError, TypeError, ValueError, AttributeError, ArithmeticError or SafetensorError: it is
            no card of that format.
    """
    point = _scored(old["point"])
    size = weights.stat().st_size
    smaller = _WIDE * (point["dense_parameters"] - point["parameters"])
    zeros = [_zeros(layer, weights) for layer in point["layers"] if layer["scheme"] == "sparse"]
    point |= {
        "settings": _settings(point["settings"]),
        "role": _ROLES.get(point["role"], point["role"]),
        "cut": None if point["cut"] is None else _cut(point["cut"]),
        "bytes": size - sum(zeros),
        "dense_bytes": size if zeros else size + smaller,
    }
    return old | {"point": point, "test": None if old["test"] is None else _scored(old["test"])}


def _scored(old: Values) -> Values:
    """A record with its share of images as a score."""
    score = to_dict(share(old["correct"], old["images"]))
    rest = {k: v for k, v in old.items() if k not in ("accuracy", "correct", "images")}
    return rest | {"score": score}


def _settings(old: Values) -> Values:
    """A point's settings; the nuclear weight, which was of one truncation, per iteration."""
    found = {_SETTINGS.get(name, name): value for name, value in old.items()}
    if found.get("method") == "ddlr":
        found["method"] = "ddlr-style"
    period = found.get("period")
    if found.get("nuclear_weight") and not found.get("nuclear_every_step"):
        found["nuclear_weight"] = found["nuclear_weight"] / period if isinstance(period, int) else 0
    return found


def _cut(old: Values) -> Values:
    """A cut with how much it keeps as one value, of seven of which one was set."""
    keep = {name: old[name] for name in _KEPT if old.get(name)}
    return {"keep": keep} | {_RENAMED.get(k, k): v for k, v in old.items() if k not in _KEPT}


def _zeros(layer: Values, weights: Path) -> int:
    """The bytes by which a sparse layer would be smaller as compressed rows."""
    with safe_open(weights, "np") as file:
        rows, columns = file.get_slice(f"{layer['name']}.weight").get_shape()
    nonzeros = layer["parameters"] - (layer["dense_parameters"] - rows * columns)
    return int(_WIDE * rows * columns - csr_bytes(nonzeros, rows))
