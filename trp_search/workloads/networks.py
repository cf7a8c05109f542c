"""A network by name, and weights for it from outside."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor, nn

from trp_search.errors import InputError, one_line
from trp_search.records import NetworkSpec
from trp_search.workloads.callables import called, is_callable_name
from trp_search.workloads.eager import check_eager
from trp_search.workloads.residual import ResidualNetwork

_WHERE = "workload.network"
_BUILT_IN: dict[str, dict[str, Any]] = {
    "resnet20": {"blocks": 3},
    "resnet32": {"blocks": 5},
    "resnet56": {"blocks": 9},
    "small_resnet": {"blocks": 1, "widths": (32, 64, 128)},
}
# Written for inputs in [-1, 1]; the switch lets them take images normalised like everyone else's.
_AUXILIARY = {"googlenet", "inception_v3"}
# What constructors, torchvision's and torch's, raise for values that make no network.
_UNBUILDABLE = (
    TypeError,
    ValueError,
    AssertionError,
    RuntimeError,
    ArithmeticError,
    LookupError,
    AttributeError,
    MemoryError,
)


def build(spec: NetworkSpec, *, channels: int, classes: int) -> nn.Module:
    """The network that `spec` names, with weights drawn from torch's global generator.

    A callable gets its options and nothing else; it defines its own channels and classes.

    Raises:
        InputError: the name is unknown, or the network cannot be made for these images.
    """
    if is_callable_name(spec.name):
        network = called(spec.name, spec.options, where=_WHERE)
        if not isinstance(network, nn.Module):
            kind = type(network).__name__
            raise InputError(f"{_WHERE}: {spec.name} returned {kind}, not an nn.Module")
        check_eager(network, where=f"{_WHERE}: {spec.name}")
        return network
    if spec.name in _BUILT_IN:
        if spec.options:
            raise InputError(f"{_WHERE}.options: {spec.name} takes none")
        try:
            return ResidualNetwork(channels=channels, classes=classes, **_BUILT_IN[spec.name])
        except _UNBUILDABLE as error:
            raise InputError(f"{_WHERE}: {spec.name} raised {one_line(error)}") from None
    return _torchvision(spec, channels=channels, classes=classes)


def load_weights(network: nn.Module, weights: str, *, spec: NetworkSpec) -> None:
    """Fills `network`, in place, with `weights`: `torchvision` or a safetensors file.

    Raises:
        InputError: they are missing, unreadable or another network's.
    """
    state = _fetched(spec) if weights == "torchvision" else _read(weights)
    own = network.state_dict()
    if spec.name in _AUXILIARY:
        state = {key: value for key, value in state.items() if not key.startswith(("aux", "Aux"))}
    problem = mismatch(shapes(own), shapes(state))
    if problem:
        raise InputError(f"workload.weights: {weights!r} does not fit {spec.name}: {problem}")
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise InputError(
            f"workload.weights: {weights!r} does not fit {spec.name}: {one_line(error)}"
        ) from None


def _torchvision(spec: NetworkSpec, *, channels: int, classes: int) -> nn.Module:
    import torchvision.models  # noqa: PLC0415  seconds, and most workloads do without

    known = torchvision.models.list_models(module=torchvision.models)
    if spec.name not in known:
        raise InputError(f"{_WHERE}: {spec.name!r} is not known; {_known(spec.name, known)}")
    if channels != 3:
        raise InputError(f"{_WHERE}: {spec.name} takes images of 3 channels, these have {channels}")
    options: dict[str, Any] = {"weights": None, "num_classes": classes, **spec.options}
    if spec.name in _AUXILIARY:
        options = {"aux_logits": False, "transform_input": True, "init_weights": True, **options}
    try:
        network: nn.Module = torchvision.models.get_model(spec.name, **options)
    except _UNBUILDABLE as error:
        raise InputError(f"{_WHERE}.options: {spec.name} raised {one_line(error)}") from None
    return network


def _known(name: str, torchvision_names: list[str]) -> str:
    close = difflib.get_close_matches(name, [*_BUILT_IN, *torchvision_names], n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    return (
        f"{hint}There are {', '.join(_BUILT_IN)}, every torchvision.models classifier, "
        "and package.module:callable"
    )


def _fetched(spec: NetworkSpec) -> Mapping[str, Tensor]:
    import torchvision.models  # noqa: PLC0415  as above

    where = "workload.weights: 'torchvision'"
    if spec.name in _BUILT_IN or is_callable_name(spec.name):
        raise InputError(f"{where} has none for {spec.name}; give null or a safetensors file")
    try:
        weights = torchvision.models.get_model_weights(spec.name)["DEFAULT"]
        state: Mapping[str, Tensor] = weights.get_state_dict(progress=False, check_hash=True)
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"{where}: those of {spec.name} cannot be fetched: {one_line(error)}"
        ) from None
    return state


def _read(weights: str) -> Mapping[str, Tensor]:
    path = Path(os.path.expandvars(weights)).expanduser()
    if not path.is_file():
        raise InputError(f"workload.weights: {weights!r} is no file, and not torchvision")
    try:
        return safetensors.torch.load_file(path)
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"workload.weights: {weights!r} is not a whole safetensors file: {one_line(error)}"
        ) from None


Shapes = Mapping[str, tuple[int, ...]]


def shapes(state: Mapping[str, Tensor]) -> Shapes:
    """The shape of every tensor of a state, by name."""
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def mismatch(own: Shapes, given: Shapes) -> str | None:
    """The first way in which `given` are not the weights of a network with `own`, or None."""
    for what, keys in (
        ("it has no", [key for key in own if key not in given]),
        ("it has a foreign", [key for key in given if key not in own]),
    ):
        if keys:
            return f"{what} {keys[0]}" + (f" and {len(keys) - 1} more" if keys[1:] else "")
    for key, shape in own.items():
        if shape != given[key]:
            return f"{key} is {given[key]} there and {shape} here"
    return None
