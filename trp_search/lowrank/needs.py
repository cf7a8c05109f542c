"""Layers that a network needs as they are: it would not serve another module in their place."""

from __future__ import annotations

import dataclasses
import random  # noqa: TID251  a network may draw from it
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, final

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from trp_search.errors import one_line
from trp_search.lowrank.placing import copied
from trp_search.lowrank.reads import probed
from trp_search.lowrank.tracing import arguments, run
from trp_search.tasks.modes import evaluating

Layers = Mapping[str, nn.Module]


def needed(
    network: nn.Module,
    example_input: Tensor | Sequence[Any],
    layers: Layers,
    calls: Mapping[str, int],
) -> dict[str, str]:
    """The `layers` that have to stay, with the reason: reads, checks and branches of the network.

    Args:
        network: not changed.
        example_input: input of its forward pass.
        layers: by name.
        calls: number of calls of each layer.
    """
    with evaluating(network):
        found = _used(network, example_input, layers, calls)
    copy = copied(network)
    for training in (False, True):
        copy.train(training)
        left = {n: m for n, m in copy.named_modules() if n in layers and n not in found}
        if training:
            found |= _read_in_training(copy, example_input, left)
            left = {name: module for name, module in left.items() if name not in found}
        when = "in training " if training else ""
        answers = f"{when}the network answers otherwise with another module in its place"
        found |= dict.fromkeys(_branched_on(copy, example_input, left), answers)
    return found


def _used(
    network: nn.Module,
    example_input: Tensor | Sequence[Any],
    layers: Layers,
    calls: Mapping[str, int],
) -> dict[str, str]:
    """Those that the network reads, does not call by their place, or cannot run without."""
    with probed(network, layers) as probes:
        try:
            run(network, example_input)
        except Exception as error:  # noqa: BLE001  a network may raise anything
            if len(layers) == 1:
                return {name: f"the network needs it: {one_line(error)}" for name in layers}
            # Some layer cannot be replaced: each is tried alone.
            failed = True
        else:
            failed = False
    if failed:
        parts = [_used(network, example_input, {n: m}, calls) for n, m in layers.items()]
        return {name: reason for part in parts for name, reason in part.items()}
    found = {name: probe.missed(calls[name]) for name, probe in probes.items()}
    return {name: reason for name, reason in found.items() if reason is not None}


def _read_in_training(
    network: nn.Module, example_input: Tensor | Sequence[Any], layers: Layers
) -> dict[str, str]:
    """Those that a forward pass in training reads, as far as it runs on this input."""
    with _drawing(network), probed(network, layers) as probes:
        with suppress(Exception):
            run(network, example_input)
        reads = {name: " and ".join(sorted(probe.reads)) for name, probe in probes.items()}
    return {name: f"the network reads its {x} in training" for name, x in reads.items() if x}


@torch.no_grad()
def _branched_on(
    network: nn.Module, example_input: Tensor | Sequence[Any], layers: Layers
) -> set[str]:
    """Those whose class the network asks for, and answers otherwise.

    None where the network does not run, or does not answer alike to the same input twice. Its
    buffers may move.
    """
    # Zeros, as searches measure on, hide branches; noise may be no input at all.
    for given in (drawn, arguments):
        with suppress(Exception):
            differ = _Answers(network, given(example_input), layers).differ
            break
    else:
        return set()
    found = set[str]()
    if not differ(layers) or any(differ(()) for _ in range(_CONTROLS)) or not differ(layers):
        return found
    while (left := [name for name in layers if name not in found]) and differ(left):
        found |= _culprits(left, differ)
    return found


@final
class _Answers:
    """Answers of a network to one input, with probes in the place of some of its layers.

    Raises:
        ValueError: the network's own has a tensor without a finite number.
    """

    def __init__(self, network: nn.Module, given: Sequence[Any], layers: Layers) -> None:
        self._network, self._given, self._layers = network, given, layers
        self._buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
        self._whole = self._answer(())
        if not all(_says_something(each) for each in self._whole):
            raise ValueError("an answer of no finite numbers")

    def differ(self, some: Collection[str]) -> bool:
        """Whether the answer with probes is another one, or none."""
        try:
            return not alike(self._answer(some), self._whole, within=_ROUNDING)
        except Exception:  # noqa: BLE001  a network may raise anything
            return True

    def _answer(self, some: Collection[str]) -> list[Tensor]:
        for name, buffer in self._network.named_buffers():
            buffer.copy_(self._buffers[name])
        given = [each.clone() if isinstance(each, Tensor) else each for each in self._given]
        probes = {name: self._layers[name] for name in some}
        with _drawing(self._network), probed(self._network, probes):
            return tensors(run(self._network, given))


_CONTROLS = 8  # a coin that the network tosses itself is seldom alike so often
_ROUNDING = 1e-6  # the same operations on the same numbers; deep layers may hide what differs


def _culprits(some: Sequence[str], differ: Callable[[Collection[str]], bool]) -> set[str]:
    """Names in `some`, which make a difference together, that make it: at least one."""
    if len(some) == 1:
        return set(some)
    half = len(some) // 2
    found = set[str]()
    for part in (some[:half], some[half:]):
        if differ(part):
            found |= _culprits(part, differ)
    if not found:
        found = set(some)
        for name in some:
            if differ(found - {name}):
                found.remove(name)
    return found or set(some)


@contextmanager
def _drawing(network: nn.Module) -> Iterator[None]:
    """Random numbers drawn in the block are those that would be drawn after it."""
    devices = {p.device.index or 0 for p in network.parameters() if p.device.type == "cuda"}
    pythons, numpys = random.getstate(), np.random.get_state()  # noqa: NPY002  theirs, not ours
    with torch.random.fork_rng(devices=sorted(devices)):
        try:
            yield
        finally:
            random.setstate(pythons)
            np.random.set_state(numpys)  # noqa: NPY002


def drawn(example_input: Tensor | Sequence[Any]) -> tuple[Any, ...]:
    """The arguments of a forward pass, with noise for numbers."""
    generator = torch.Generator().manual_seed(0)
    return tuple(
        torch.randn(one.shape, generator=generator).to(one)
        if isinstance(one, Tensor) and one.is_floating_point() and not _is_opaque(one)
        else one
        for one in arguments(example_input)
    )


def tensors(output: object) -> list[Tensor]:
    """Copies of the tensors in an output of any structure."""
    found = list[Tensor]()
    for leaf in pytree.tree_leaves(output):
        if isinstance(leaf, Tensor):
            found.append(leaf.clone())
        elif dataclasses.is_dataclass(leaf):
            found += tensors([getattr(leaf, field.name) for field in dataclasses.fields(leaf)])
    return found


def alike(found: Sequence[Tensor], wanted: Sequence[Tensor], *, within: float) -> bool:
    """Whether answers differ by at most a share `within` of the largest number."""
    pairs = zip(found, wanted, strict=False)
    return len(found) == len(wanted) and all(_close(*pair, within=within) for pair in pairs)


def _says_something(one: Tensor) -> bool:
    return _is_opaque(one) or not one.numel() or bool(one.isfinite().any())


def _is_opaque(one: Tensor) -> bool:
    """Whether a tensor is of a kind whose numbers are not compared."""
    return one.is_nested or one.layout is not torch.strided or one.is_quantized


def _close(one: Tensor, other: Tensor, *, within: float) -> bool:
    if _is_opaque(one):
        return True
    if one.shape != other.shape:
        return False
    if one.is_complex():
        one, other = torch.view_as_real(one), torch.view_as_real(other.to(one))
    one, other = one.double(), other.double()
    finite = other[other.isfinite()]
    most = float(finite.abs().max()) if finite.numel() else 0.0
    return torch.allclose(one, other, atol=within * most, rtol=0, equal_nan=True)
