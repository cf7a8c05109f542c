"""Activations that weight errors while a network trains, measured anew from time to time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn

from trp_search.lowrank.attention import opened
from trp_search.lowrank.moments import collect, writes
from trp_search.lowrank.schemes import Scheme
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
        self._found: list[_Measured] = []

    def forget(self) -> None:
        """The next spectra are by activations that are measured anew."""
        self._found = []

    def spectra(self, groups: Sequence[Group]) -> list[Spectra]:
        """Those of each group, the same groups each time.

        Raises:
            InputError: there are no images, or a layer meets a value that is not finite.
        """
        self._found = self._found or self._measured(groups)
        pairs = zip(groups, self._found, strict=True)
        return [found.spectra(group.stacked(group.values)) for group, found in pairs]

    def _measured(self, groups: Sequence[Group]) -> list[_Measured]:
        parts = opened(self._network, self._example)
        layers: dict[str, tuple[nn.Module, list[Scheme]]] = {}
        for group in groups:
            for name in group.names:
                layers.setdefault(name, (parts.get_submodule(name), []))[1].append(group.scheme)
        found = collect(parts, self._batches, layers, outputs=False)
        return [
            _Measured(
                inputs=_stacked(group, found),
                writes=writes(layers[group.names[0]][0], group.scheme),
            )
            for group in groups
        ]


@dataclass(frozen=True, kw_only=True)
class _Measured:
    """Of a group's layers.

    Attributes:
        inputs: (l, g, n, n) second moments, zero where unknown; see `Moments`.
        writes: whether those of outputs weight the errors.
    """

    inputs: Tensor
    writes: bool

    def spectra(self, matrices: Tensor) -> Spectra:
        """Those of the (b, m, n) matrices of all layers."""
        known = self.inputs
        if self.writes:
            outputs = matrices @ known.flatten(0, 1) @ matrices.mT
            known = outputs.reshape(*known.shape[:2], *outputs.shape[1:])
        return weighted_spectra(matrices, Moments(matrix=known, of_outputs=self.writes))


def _stacked(group: Group, found: Mapping[tuple[str, str], Moments]) -> Tensor:
    one = group.stacked(group.values[:1])
    keys = [(name, group.scheme.name) for name in group.names]
    width = one.shape[-1]
    parts = [found[key].matrix.to(one).reshape(-1, width, width) for key in keys if key in found]
    parts += [one.new_zeros(1, width, width)]
    known = iter(parts)
    return torch.stack(
        [next(known) if key in found else torch.zeros_like(parts[0]) for key in keys]
    )
