"""Loads a bundle's network without trusting the bundle."""

from __future__ import annotations

import copy
import dataclasses
import textwrap
from pathlib import Path

from torch import Tensor, nn

from trp_search.errors import InputError
from trp_search.export.bundle import ARCHITECTURE
from trp_search.export.memory import limited_memory
from trp_search.export.opened import Bundle, opened
from trp_search.export.weightless import Weightless, compute_buffers_, give_memory_
from trp_search.lowrank.rebuild import rebuild
from trp_search.records import NetworkSpec
from trp_search.training.checkpoint import load_tensors
from trp_search.workloads import networks, state
from trp_search.workloads.callables import is_callable_name

# Bytes beside a multiple of the weights: tables that no file holds, and all that constructors and
# their libraries take meanwhile.
_BUFFERS, _BUILDING = 2**24, 2**30


def load(bundle: Path | str, *, network: nn.Module | None = None) -> nn.Module:
    """The network of a bundle with its weights, on the CPU, in evaluation mode.

    >>> import torch
    >>> from trp_search import load
    >>> network = load("models/mine-2x")
    >>> network(torch.rand(1, 1, 8, 8)).shape
    torch.Size([1, 10])

    Nothing is unpickled and no module that the bundle names is imported: for a custom architecture
    pass the uncompressed `network` (any weights), which is copied. Memory is limited to what the
    weights in the bundle need.

    Raises:
        InputError: a file is missing, unreadable, of a later format, or does not fit.
    """
    return network_in(opened(bundle), network=network)


def network_in(bundle: Bundle, *, network: nn.Module | str | None) -> nn.Module:
    """As `load`; `network` may also be the caller's `package.module:callable`."""
    result = (
        copy.deepcopy(network) if isinstance(network, nn.Module) else _baseline(bundle, network)
    )
    try:
        with _weightless(bundle):
            rebuild(result, bundle.architecture.layers, bundle.architecture.widths)
    except InputError as error:
        raise InputError(f"{bundle.folder / ARCHITECTURE}: {error}") from None
    _check_shapes(bundle, result)
    give_memory_(result)
    load_tensors(result, bundle.weights)
    return result.eval()


def network_spec(bundle: Bundle, *, name: str | None) -> NetworkSpec:
    """The bundle's baseline, or the caller's `name` with its options; downloads no weights.

    Raises:
        InputError: it is code, and the caller named none.
    """
    spec = bundle.architecture.network
    if name is None and is_callable_name(spec.name):
        raise InputError(
            f"{bundle.folder / ARCHITECTURE}: network.name: {spec.name!r:.100} is code that a "
            "bundle may not have imported; build the baseline yourself and pass it as "
            "network= or --network"
        )
    spec = dataclasses.replace(spec, name=name or spec.name)
    options = {key: value for key, value in spec.options.items() if "weights" not in key}
    return spec if is_callable_name(spec.name) else dataclasses.replace(spec, options=options)


def _baseline(bundle: Bundle, name: str | None) -> nn.Module:
    """The baseline; only a network built by the caller's code has memory yet."""
    spec, architecture = network_spec(bundle, name=name), bundle.architecture
    size = {"channels": architecture.channels, "classes": architecture.classes}
    if is_callable_name(spec.name):
        return networks.build(spec, **size)
    stored = 4 * bundle.weights.stat().st_size
    try:
        with limited_memory(stored + _BUILDING):
            with _weightless(bundle):
                network = networks.build(spec, **size)
            compute_buffers_(network, most=stored + _BUFFERS)
    except InputError as error:
        reason = textwrap.shorten(str(error), 300, placeholder=" ...")
        raise InputError(f"{bundle.folder / ARCHITECTURE}: {reason}") from None
    return network


def _weightless(bundle: Bundle) -> Weightless:
    """With room for tensors that constructors make and throw away."""
    return Weightless(most=4 * len(bundle.shapes) + 100)


def _check_shapes(bundle: Bundle, network: nn.Module) -> None:
    tensors = {key: t for key, t in network.state_dict().items() if isinstance(t, Tensor)}
    problem = state.mismatch(state.shapes(tensors), bundle.shapes)
    if problem is not None:
        reason = textwrap.shorten(problem, 160, placeholder=" ...")
        raise InputError(f"{bundle.weights}: not this network's weights: {reason}")
