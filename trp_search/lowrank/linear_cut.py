"""Linear layers made simpler after training, by what they do on calibration images.

Layers are independent: each keeps its outputs on the inputs that the uncut network gives it
(Net-Trim's parallel mode; its cascade mode, where inputs come from layers already cut, is not
here). The two problems are in `convex`.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from trp_search import records
from trp_search.errors import InputError
from trp_search.lowrank.analysis import AnalysedLayer, Analysis, Candidate
from trp_search.lowrank.choice import Choice
from trp_search.lowrank.convex import (
    TOLERANCE,
    Guarantee,
    Shrink,
    Solution,
    guarantee,
    singular_value_threshold,
    soft_threshold,
    solve,
)
from trp_search.lowrank.costs import MeasuredLayer, measure
from trp_search.lowrank.decompose import Decomposed, build
from trp_search.lowrank.followers import followers
from trp_search.lowrank.rebuild import copied
from trp_search.lowrank.schemes import SCHEMES, kernel, shape_of
from trp_search.lowrank.tracing import watching
from trp_search.lowrank.truncation import Spectra, spectra, wide

_SHRINKS: dict[str, Shrink] = {
    "ddlr-style": singular_value_threshold,
    "net-trim": soft_threshold,
}


@torch.no_grad()
def cut(
    network: nn.Module,
    example_input: Tensor | Sequence[Any],
    wanted: records.Cut,
    batches: Iterable[Tensor],
) -> Decomposed:
    """A copy of `network` whose linear layers are factored or sparse and still answer alike.

    Each loses at most the share `wanted.keep.error` of its outputs' norm on all of `batches`
    together, to within a thousandth of that (`convex.TOLERANCE`) and the rounding to the network's
    precision. A layer for which no such weight is found, or whose factors would not save, stays
    dense. What a ReLU follows is kept as the ReLU leaves it. That is seen where torch.fx can trace
    the network and the ReLU alone reads the layer; anywhere else, as inside torch's own transformer
    blocks, none is assumed. Inputs of all layers are held at once, in double precision.

    Args:
        network: any module; it is not changed.
        example_input: what its forward pass takes.
        wanted: of scheme `ddlr-style` (pairs of layers, recorded as `channel`) or `net-trim`
            (weights with zeros, recorded as `sparse`).
        batches: images, some thousands at most.

    Raises:
        InputError: there is no linear layer, there are no images, or a value is not finite.
    """
    assert isinstance(wanted.keep, records.Error), wanted.keep
    layers = check(network, example_input, wanted)
    linear = [layer for layer in layers if isinstance(layer.module, nn.Linear)]
    fit = {layer.name: layer.module for layer in linear if layer.reason is None}
    calibration = _Calibration(
        inputs=_inputs(network, batches, fit),
        rectified=frozenset(n for n, f in followers(network).items() if f.relu and not f.norm),
        error=wanted.keep.error,
        shrink=_SHRINKS[wanted.scheme],
    )
    if wanted.scheme == "net-trim":
        return _sparse(network, layers, calibration)
    analysed, choices = [], []
    for layer in layers:
        choice = _low_rank(layer, calibration, wanted.multiple)
        found = () if choice.candidate is None else (choice.candidate,)
        analysed.append(AnalysedLayer(layer=layer, candidates=found, reason=choice.reason))
        choices.append(choice)
    analysis = Analysis(network=network, example_input=example_input, layers=tuple(analysed))
    return build(analysis, choices)


def check(
    network: nn.Module, example_input: Tensor | Sequence[Any], wanted: records.Cut
) -> list[MeasuredLayer]:
    """All layers; raises InputError where none is linear, so that there is nothing to do."""
    layers = measure(
        network,
        example_input,
        SCHEMES["channel"],
        layers=wanted.layers,
        replaced=wanted.scheme != "net-trim",  # which only writes zeros into weights
    )
    if not any(isinstance(layer.module, nn.Linear) for layer in layers):
        raise InputError(f"scheme: {wanted.scheme}: the network has no linear layer: nothing to do")
    return layers


@dataclass(frozen=True, kw_only=True)
class _Calibration:
    """What layers are given, which of them a ReLU follows, and the problem to solve for each.

    Attributes:
        inputs: (n, p) float64 by the name of each layer that may be cut and was called.
        rectified: names of modules that a ReLU follows.
        error: share of the outputs' norm that may be lost.
        shrink: the proximal step.
    """

    inputs: Mapping[str, Tensor]
    rectified: frozenset[str]
    error: float
    shrink: Shrink

    def solved(self, layer: MeasuredLayer) -> tuple[Guarantee, Solution] | str:
        """What was asked of a layer and what was found, or why it stays dense."""
        if not isinstance(layer.module, nn.Linear):
            return "not a linear layer"
        if layer.reason is not None:
            return layer.reason
        if layer.name not in self.inputs:
            return "not called on calibration images"
        asked = guarantee(
            layer.module.weight,
            layer.module.bias,
            self.inputs[layer.name],
            error=self.error,
            rectified=layer.name in self.rectified,
        )
        found = solve(asked, self.shrink)
        if found.excess > TOLERANCE:
            return f"no weight within error {self.error:g} after {found.iterations} iterations"
        return asked, found


def _low_rank(layer: MeasuredLayer, calibration: _Calibration, multiple: int) -> Choice:
    """The smallest rank at which the solution, truncated, is still within the guarantee."""
    solved = calibration.solved(layer)
    if isinstance(solved, str):
        return Choice(reason=solved)
    asked, solution = solved
    turned, transposed = wide(solution.weight.unsqueeze(0))
    found = spectra(turned)
    least = max(1, _smallest_rank(found, asked, transposed=transposed))
    rank = math.ceil(least / multiple) * multiple
    most = min(layer.full_rank, (layer.dense_macs - 1) // layer.macs_per_rank)
    if rank > most:
        return Choice(reason=f"rank {rank} would not save multiply-adds (at most {most} would)")
    return Choice(candidate=Candidate(layer=layer, spectra=found, transposed=transposed), rank=rank)


def _smallest_rank(found: Spectra, asked: Guarantee, *, transposed: bool) -> int:
    """By bisection: a rank that is within the guarantee while the one below is not."""
    below, within = -1, found.squares.shape[-1]
    while within - below > 1:
        rank = (below + within) // 2
        kept = found.last(torch.tensor([rank], device=found.squares.device))
        weight = found.truncated(kept)[0]
        if asked.excess(weight.mT if transposed else weight) <= TOLERANCE:
            within = rank
        else:
            below = rank
    return within


def _sparse(
    network: nn.Module, layers: Sequence[MeasuredLayer], calibration: _Calibration
) -> Decomposed:
    result = copied(network)
    found = []
    for layer in layers:
        solved = calibration.solved(layer)
        if isinstance(solved, str):
            found.append(layer.dense(solved))
            continue
        weight = result.get_submodule(layer.name).weight
        assert isinstance(weight, Tensor)
        weight.copy_(solved[1].weight)
        found.append(_sparse_record(layer, nonzeros=int(weight.count_nonzero())))
    return Decomposed(network=result, layers=tuple(found))


def sparse_layers(
    network: nn.Module, example_input: Tensor, names: Container[str]
) -> tuple[records.Layer, ...]:
    """What those of `names` cost by the zeros that their weights have."""
    return tuple(
        _sparse_record(layer, nonzeros=int(kernel(layer.module).count_nonzero()))
        for layer in measure(
            network, example_input, SCHEMES["channel"], layers="all", replaced=False
        )
        if layer.name in names
    )


def _sparse_record(layer: MeasuredLayer, *, nonzeros: int) -> records.Layer:
    weights = math.prod(shape_of(layer.module))
    dense = layer.dense("")
    return records.Layer(
        name=layer.name,
        scheme="sparse",
        rank=None,
        full_rank=None,
        macs=dense.dense_macs // weights * nonzeros,
        dense_macs=dense.dense_macs,
        parameters=dense.dense_parameters - weights + nonzeros,
        dense_parameters=dense.dense_parameters,
        reason=None,
    )


def _inputs(
    network: nn.Module, batches: Iterable[Tensor], modules: Mapping[str, nn.Module]
) -> dict[str, Tensor]:
    """(n, p) float64 all that each of `modules` reads while the network sees `batches`."""
    read: dict[str, list[Tensor]] = {name: [] for name in modules}

    def note(name: str, module: nn.Module, given: Tensor, output: Tensor) -> None:
        weight = module.weight
        assert isinstance(weight, Tensor)
        if not (output.isfinite().all() and given.isfinite().all() and weight.isfinite().all()):
            raise InputError(f"calibration: layer {name!r} meets a value that is not finite")
        # A copy, since what follows may work in place.
        read[name].append(given.movedim(-1, 0).flatten(1).to(torch.float64, copy=True))

    empty = True
    with watching(network, modules, note):
        for batch in batches:
            network(batch)
            empty = False
    if empty:
        raise InputError("calibration: there are no images")
    return {name: torch.cat(parts, 1) for name, parts in read.items() if parts}
