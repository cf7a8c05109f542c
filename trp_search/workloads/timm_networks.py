"""The only door to timm: `timm:NAME` to a network, its input and its published weights."""

from __future__ import annotations

import difflib
import importlib.util
import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from trp_search.errors import InputError
from trp_search.records import NetworkSpec
from trp_search.workloads.callables import TIMM

_WHERE = "workload.network"
# They fetch or read files: weights are a matter of `workload.weights`.
_FILES = ("pretrained", "checkpoint_path", "cache_dir")
INSTALL = "pip install 'trp_search[timm]'"


def is_timm(name: str) -> bool:
    """Whether `name` is of the form `timm:NAME`."""
    return name.startswith(TIMM)


def is_installed() -> bool:
    """Whether timm can be imported."""
    return importlib.util.find_spec("timm") is not None


def names() -> list[str]:
    """The architectures that timm has, as `timm:NAME`; none without timm."""
    if not is_installed():
        return []
    import timm  # noqa: PLC0415  optional

    return [TIMM + name for name in timm.list_models()]


def check_known(name: str) -> None:
    """Raises InputError, with a similar name, unless timm is installed and has the network."""
    if not is_installed():
        raise InputError(f"{_WHERE}: {name!r} is timm's, which is not installed:  {INSTALL}")
    import timm  # noqa: PLC0415  optional

    architecture, dot, tag = name.removeprefix(TIMM).partition(".")
    if architecture not in (known := timm.list_models()):
        close = difflib.get_close_matches(architecture, known, n=1)
        hint = f"; did you mean {TIMM}{close[0]}?" if close else ""
        raise InputError(f"{_WHERE}: {name!r} is not known to timm{hint}")
    tags = [full.partition(".")[2] for full in timm.list_pretrained(f"{architecture}.*")]
    if dot and tag not in tags:
        there = ", ".join(tags) or "none"
        raise InputError(f"{_WHERE}: {name!r}: of {architecture} there are the weights {there}")


def build(spec: NetworkSpec, *, channels: int, classes: int) -> nn.Module:
    """The network without published weights; `spec.options` go to its constructor.

    Raises:
        InputError: an option would fetch or read a file.
    """
    return _made(spec, {"in_chans": channels, "num_classes": classes, **spec.options})


def classes(spec: NetworkSpec) -> int | None:
    """How many classes the published weights tell apart; None if there are none."""
    found = _configuration(spec)
    return found.num_classes if found is not None and found.has_weights else None


def fetched(spec: NetworkSpec, *, channels: int) -> Mapping[str, Tensor]:
    """The published weights, for images of so many channels; raises what a download raises.

    The head is theirs: timm would draw one at random for another number of classes.
    """
    options = {key: value for key, value in spec.options.items() if key != "num_classes"}
    state: Mapping[str, Tensor] = _made(
        spec, {"in_chans": channels, **options}, pretrained=True
    ).state_dict()
    return state


def side(spec: NetworkSpec) -> int | None:
    """Pixels of a side of the images that the network is for; None if these are not square."""
    found = _configuration(spec)
    size = spec.options.get("img_size", found.input_size[1:] if found is not None else None)
    height, width = size if isinstance(size, list | tuple) and len(size) == 2 else (size, size)
    return height if height == width and isinstance(height, int) else None


def normalisation(spec: NetworkSpec) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Mean and standard deviation that its weights were trained with; None if unknown."""
    found = _configuration(spec)
    if found is None or not all(map(math.isfinite, (*found.mean, *found.std))):
        return None
    return tuple(found.mean), tuple(found.std)


def _made(spec: NetworkSpec, options: dict[str, Any], *, pretrained: bool = False) -> nn.Module:
    for key in options:
        if key.startswith(_FILES):
            raise InputError(
                f"{_WHERE}.options.{key}: is not passed on; weights come from workload.weights"
            )
    import timm  # noqa: PLC0415  optional

    name = spec.name.removeprefix(TIMM)
    network: nn.Module = timm.create_model(name, pretrained=pretrained, **options)
    return network


def _configuration(spec: NetworkSpec) -> Any:  # noqa: ANN401  timm's own, untyped
    from timm.models import get_pretrained_cfg  # noqa: PLC0415  optional

    return get_pretrained_cfg(spec.name.removeprefix(TIMM))
