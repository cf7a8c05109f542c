"""A network by name, and weights for it from outside."""

from __future__ import annotations

import difflib
import inspect
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from trp_search.errors import InputError, one_line
from trp_search.records import NetworkSpec, Workload
from trp_search.workloads import state, timm_networks
from trp_search.workloads.callables import TIMM, called, is_callable_name
from trp_search.workloads.eager import check_eager
from trp_search.workloads.images import Shape
from trp_search.workloads.residual import ResidualNetwork

_WHERE = "workload.network"
PUBLISHERS = ("torchvision", "timm")  # libraries that publish weights of their networks
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
    own = is_callable_name(spec.name) and not spec.name.startswith("torchvision.models")
    for key in () if own else spec.options:
        if key.startswith("weights"):
            raise InputError(
                f"{_WHERE}.options.{key}: is not passed on; weights come from workload.weights"
            )
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
        with _making(f"{_WHERE}: {spec.name}"):
            return ResidualNetwork(channels=channels, classes=classes, **_BUILT_IN[spec.name])
    if timm_networks.is_timm(spec.name):
        timm_networks.check_known(spec.name)
        with _making(f"{_WHERE}.options: {spec.name}"):
            return timm_networks.build(spec, channels=channels, classes=classes)
    return _torchvision(spec, channels=channels, classes=classes)


def check_weights(network: nn.Module, workload: Workload, shape: Shape) -> None:
    """Checks the workload's weights before anything starts; fills `network` with a file's.

    Published weights are not downloaded: that they exist and how many classes they know is checked.

    Raises:
        InputError: as `load_weights`.
    """
    weights, spec = workload.weights, workload.network
    if weights is None:
        return
    if weights not in PUBLISHERS:
        load_weights(network, weights, spec=spec, channels=shape.channels)
        return
    there, here = _published(weights, spec), spec.options.get("num_classes", shape.classes)
    if here != there:
        what = state.other_classes(there, here)
        raise InputError(f"workload.weights: {weights!r} does not fit {spec.name}: {what}")


def load_weights(network: nn.Module, weights: str, *, spec: NetworkSpec, channels: int) -> None:
    """Fills `network`, in place, with `weights`: `torchvision`, `timm` or a file.

    Raises:
        InputError: they are missing, unreadable or another network's.
    """
    own = network.state_dict()
    if weights in PUBLISHERS:
        given = _fetched(weights, spec, channels=channels)
    else:
        given = _read(weights, own)
    if spec.name in _AUXILIARY:
        given = {key: value for key, value in given.items() if not key.startswith(("aux", "Aux"))}
    problem = state.problem(own, given)
    if problem:
        raise InputError(f"workload.weights: {weights!r} does not fit {spec.name}: {problem}")
    try:
        network.load_state_dict(state.versioned(network, given))
    except RuntimeError as error:
        raise InputError(
            f"workload.weights: {weights!r} does not fit {spec.name}: {one_line(error)}"
        ) from None


def builder_of(network: nn.Module) -> str | None:
    """The name of torchvision's classifier of the class of `network` with most nearly its size.

    Sizes are those of the published weights; the last layer of `network` may have other outputs.
    """
    if not type(network).__module__.startswith("torchvision.models."):
        return None
    import torchvision.models  # noqa: PLC0415  as below

    sizes: dict[str, int] = {
        name: torchvision.models.get_model_weights(name)["DEFAULT"].meta["num_params"]
        for name in torchvision.models.list_models(module=torchvision.models)
        if inspect.signature(torchvision.models.get_model_builder(name)).return_annotation
        is type(network)
    }
    if not sizes:
        return None
    *others, weight, bias = network.parameters()
    head = [weight, bias] if bias.dim() == 1 else [bias]
    there = sum(tensor.numel() for tensor in [*others, weight, bias])
    there += sum(1000 * tensor[0].numel() - tensor.numel() for tensor in head)
    return min(sizes, key=lambda name: abs(sizes[name] - there))


@contextmanager
def _making(where: str) -> Iterator[None]:
    try:
        yield
    except _UNBUILDABLE as error:
        raise InputError(f"{where} raised {one_line(error)}") from None


def _torchvision(spec: NetworkSpec, *, channels: int, classes: int) -> nn.Module:
    import torchvision.models  # noqa: PLC0415  seconds, and most workloads do without

    known = torchvision.models.list_models(module=torchvision.models)
    if spec.name not in known:
        raise InputError(f"{_WHERE}: {spec.name!r} is not known{_known(spec.name, known)}")
    if channels != 3:
        raise InputError(f"{_WHERE}: {spec.name} takes images of 3 channels, these have {channels}")
    options: dict[str, Any] = {"weights": None, "num_classes": classes, **spec.options}
    if spec.name in _AUXILIARY:
        options = {"aux_logits": False, "transform_input": True, "init_weights": True, **options}
    with _making(f"{_WHERE}.options: {spec.name}"):
        network: nn.Module = torchvision.models.get_model(spec.name, **options)
    return network


def _known(name: str, torchvision_names: list[str]) -> str:
    """What to say of an unknown name; timm's own comes before one that is only similar."""
    timm = timm_networks.names()
    same = f"{TIMM}{name}"
    others = [*_BUILT_IN, *torchvision_names]
    close = f"; did you mean {same}?" if same.partition(".")[0] in timm else _hint(name, others)
    more = "" if timm else f" (timm's need  {timm_networks.INSTALL})"
    return (
        f"{close or ';'} There are {', '.join(_BUILT_IN)}, every torchvision.models classifier, "
        f"{TIMM}NAME{more} and package.module:callable"
    )


def _hint(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _published(weights: str, spec: NetworkSpec) -> int:
    """How many classes the published weights of a network tell apart."""
    where = f"workload.weights: {weights!r}"
    found = None
    if weights == "timm" and timm_networks.is_timm(spec.name):
        found = timm_networks.classes(spec)
    elif weights == "torchvision" and ":" not in spec.name and spec.name not in _BUILT_IN:
        import torchvision.models  # noqa: PLC0415  as above

        found = len(torchvision.models.get_model_weights(spec.name)["DEFAULT"].meta["categories"])
    if found is None:
        raise InputError(f"{where} has none for {spec.name}; give null or a file of weights")
    return found


def _fetched(weights: str, spec: NetworkSpec, *, channels: int) -> Mapping[str, Tensor]:
    """Published weights, downloaded unless they are in their library's cache."""
    _published(weights, spec)
    try:
        if weights == "timm":
            return timm_networks.fetched(spec, channels=channels)
        import torchvision.models  # noqa: PLC0415  as above

        found = torchvision.models.get_model_weights(spec.name)["DEFAULT"]
        given: Mapping[str, Tensor] = found.get_state_dict(progress=False, check_hash=True)
    except InputError:
        raise
    except Exception as error:  # each library has its own for a network that is down
        raise InputError(
            f"workload.weights: {weights!r}: those of {spec.name} cannot be fetched: "
            f"{one_line(error)}"
        ) from error
    return given


def _read(weights: str, own: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    path = Path(os.path.expandvars(weights)).expanduser()
    if not path.is_file():
        raise InputError(
            f"workload.weights: {weights!r} is no file, and not {' or '.join(PUBLISHERS)}"
        )
    try:
        return state.read_state(path, own=own)
    except InputError as error:
        raise InputError(f"workload.weights: {weights!r} {error}") from None
