"""Activations that weigh errors while a network trains, measured anew from time to time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor, nn

from trp_search.lowrank.attention import opened
from trp_search.lowrank.moments import collect, writes
from trp_search.lowrank.schemes import Scheme
from trp_search.lowrank.spectral import is_weighted
from trp_search.lowrank.truncation import Moments, Spectra, weighted_spectra
from trp_search.training.weights import Group


@final
class Activations:
    """Spectra in the norm of layers' outputs, as the cut's by activations.

    Second moments of inputs are kept: they hold while weights move, and those of outputs would not.

    Args:
        network: that trains.
        example_input: input of its forward pass.
        batches: images, the same at each measurement.
    """

    def __init__(
        self,
        network: nn.Module,
        example_input: Tensor | Sequence[Any],
        batches: Iterable[Tensor],
    ) -> None:
        self._network, self._example = network, example_input
        self._batches = batches
        self._inputs: list[Tensor] = []

    def forget(self) -> None:
        """The next spectra are by activations that are measured anew."""
        self._inputs = []

    def spectra(self, groups: Sequence[Group]) -> list[Spectra]:
        """Those of each group, the same groups each time.

        Raises:
            InputError: there are no images, or a layer meets a value that is not finite.
        """
        self._inputs = self._inputs or self._measured(groups)
        return [_spectra(*pair) for pair in zip(groups, self._inputs, strict=True)]

    def _measured(self, groups: Sequence[Group]) -> list[Tensor]:
        """(l, n, n) second moments of the inputs of each group's layers, zero where unknown."""
        parts = opened(self._network, self._example)
        wanted: dict[str, tuple[nn.Module, list[Scheme]]] = {}
        for group in groups:
            for name in group.names:
                module = parts.get_submodule(name)
                if is_weighted(module):
                    wanted.setdefault(name, (module, []))[1].append(group.scheme)
        found = collect(parts, self._batches, wanted, outputs=False)
        return [_stacked(group, found) for group in groups]


def _stacked(group: Group, found: Mapping[tuple[str, str], Moments]) -> Tensor:
    one = group.stacked(group.values[:1])
    zero = one.new_zeros(one.shape[-1], one.shape[-1])
    keys = [(name, group.scheme.name) for name in group.names]
    return torch.stack([found[key].matrix.to(zero) if key in found else zero for key in keys])


def _spectra(group: Group, inputs: Tensor) -> Spectra:
    matrices = group.stacked(group.values)
    if not writes(group.shape, group.scheme):
        return weighted_spectra(matrices, Moments(matrix=inputs, of_outputs=False))
    outputs = matrices @ inputs @ matrices.mT
    return weighted_spectra(matrices, Moments(matrix=outputs, of_outputs=True))
