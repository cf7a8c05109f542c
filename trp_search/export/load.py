"""A bundle back to a network, without trusting the bundle."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from trp_search.errors import InputError
from trp_search.export.bundle import (
    ARCHITECTURE,
    WEIGHTS,
    Architecture,
    present,
    read_architecture,
)
from trp_search.lowrank.rebuild import rebuild
from trp_search.training.checkpoint import load_tensors
from trp_search.workloads import networks


def load(bundle: Path | str, *, network: nn.Module | None = None) -> nn.Module:
    """The network of a bundle with its weights, on the CPU, in evaluation mode.

    Nothing is unpickled and no module that the bundle names is imported: for a network of your own,
    pass the plain `network` (any weights), which is copied.

    Raises:
        InputError: a file that is missing, unreadable, of a later format, or that does not fit.
    """
    bundle = Path(bundle)
    architecture = read_architecture(bundle)
    result = _plain(bundle, architecture) if network is None else copy.deepcopy(network)
    try:
        rebuild(result, architecture.layers)
    except InputError as error:
        raise InputError(f"{bundle / ARCHITECTURE}: {error}") from None
    load_tensors(result, present(bundle, WEIGHTS))
    return result.eval()


def _plain(bundle: Path, architecture: Architecture) -> nn.Module:
    path = bundle / ARCHITECTURE
    spec = architecture.network
    if ":" in spec.name:
        raise InputError(
            f"{path}: network.name: {spec.name!r} is code that a bundle may not have imported; "
            "build the plain network yourself and pass it as network= or --network"
        )
    sizes = _sizes(present(bundle, WEIGHTS))
    try:
        # Whatever the bundle says, its weights are its own: none are fetched.
        options = {key: value for key, value in spec.options.items() if "weights" not in key}
        plain = dataclasses.replace(
            architecture, network=dataclasses.replace(spec, options=options)
        )
        _check_sizes(plain, sizes)
        return _built(plain)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _built(architecture: Architecture) -> nn.Module:
    return networks.build(
        architecture.network, channels=architecture.channels, classes=architecture.classes
    )


def _sizes(weights: Path) -> set[int]:
    """Every extent of every tensor of the file, from its header alone."""
    try:
        with safe_open(weights, framework="pt") as file:
            return {size for name in file.keys() for size in file.get_slice(name).get_shape()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(f"{weights}: not a whole safetensors file: {error}") from None


def _check_sizes(architecture: Architecture, sizes: set[int]) -> None:
    """Refuses, before memory is taken, a network of other extents than its weights.

    A pair of layers has every extent of the layer that it stands for.
    """
    for name, value in (("channels", architecture.channels), ("classes", architecture.classes)):
        if value not in sizes:
            raise InputError(f"{name}: {value} is no size of the weights in {WEIGHTS}")
    if not architecture.network.options:
        return
    try:
        with torch.device("meta"):
            sketch = _built(architecture)
    except InputError:
        return  # Some, regnet for one, compute their widths with tensors; the build itself tells.
    for name, tensor in sketch.state_dict().items():
        foreign = [size for size in tensor.shape if size not in sizes]
        if foreign:
            raise InputError(
                f"network.options: {name} would have a size of {foreign[0]}, "
                f"and no weights in {WEIGHTS} have"
            )
