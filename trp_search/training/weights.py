"""Trainable weights that can be cut, found by name each time: a network may get new weights."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from trp_search.errors import InputError
from trp_search.lowrank.attention import weight_at
from trp_search.lowrank.costs import MeasuredLayer
from trp_search.lowrank.kernels import Shape, groups_of, shape_of
from trp_search.lowrank.plain import is_plain
from trp_search.lowrank.schemes import Scheme
from trp_search.lowrank.truncation import wide


@dataclass(frozen=True, kw_only=True)
class Weight:
    """A layer's weight: all rows of a parameter, or some, in torch's attention."""

    name: str
    parameter: nn.Parameter
    rows: slice

    @property
    def values(self) -> Tensor:
        """A view, detached."""
        return self.parameter.detach()[self.rows]

    @property
    def gradient(self) -> Tensor | None:
        """A view of the parameter's gradient, if it has one."""
        found = self.parameter.grad
        return None if found is None else found[self.rows]


@dataclass(frozen=True, kw_only=True)
class Group:
    """Weights of one shape, unfolded and decomposed together."""

    scheme: Scheme
    shape: Shape
    weights: tuple[Weight, ...]

    @property
    def values(self) -> list[Tensor]:
        """A view of each weight."""
        return [weight.values for weight in self.weights]

    def unfolded(self, tensors: Sequence[Tensor]) -> Tensor:
        """(b, m, n) the scheme's matrices of each tensor; tensors have the weights' shape."""
        found = [self.scheme.unfolded(tensor.detach(), self.shape) for tensor in tensors]
        return torch.cat(found).float()

    def stacked(self, tensors: Sequence[Tensor]) -> Tensor:
        """As `unfolded`, transposed if needed so that m <= n."""
        return wide(self.unfolded(tensors))[0]

    def folded(self, matrices: Tensor) -> list[Tensor]:
        """The tensors that `stacked` made `matrices` from."""
        _, transposed = wide(self.scheme.unfolded(self.values[0], self.shape))
        return self.of_scheme(matrices.mT if transposed else matrices)

    def of_scheme(self, matrices: Tensor) -> list[Tensor]:
        """The tensors that `unfolded` made `matrices` from."""
        return [
            self.scheme.folded(part, weight.values, self.shape)
            for part, weight in zip(matrices.chunk(len(self.weights)), self.weights, strict=True)
        ]


def device_type(groups: Sequence[Group]) -> str:
    """The type of the device that holds the weights of `groups`."""
    return next((group.weights[0].parameter.device.type for group in groups), "cpu")


@final
class Weights:
    """The trainable weights of `network` that `scheme` and `layers` choose, grouped by shape.

    Weights that a layer computes another from stay as they are.

    Loading with `assign=True`, moving a network or setting a layer's weight may replace a weight's
    tensor; `found` returns the current tensors.

    Attributes:
        names: the layers whose weights are chosen, in the network's order.
        left_out: the layers that are not chosen, with the reason.

    Args:
        network: any module.
        measured: its layers under a scheme, which says how weights are unfolded.
        where: prefix of error messages.

    Raises:
        InputError: the weights are complex.
    """

    def __init__(
        self,
        network: nn.Module,
        measured: Sequence[MeasuredLayer],
        scheme: Scheme,
        *,
        where: str,
    ) -> None:
        self._network = network
        self._scheme = scheme
        self._where = where
        self._names: dict[tuple[int, Shape], dict[str, torch.Size]] = defaultdict(dict)
        self.left_out: dict[str, str] = {}
        for layer in measured:
            module, reason = layer.module, layer.reason or _untrained(layer.module)
            if reason is None:
                assert isinstance(module.weight, Tensor)
                named = self._names[groups_of(module), shape_of(module)]
                named[layer.name] = module.weight.shape
            else:
                self.left_out[layer.name] = reason
        self.names = tuple(x.name for x in measured if x.name not in self.left_out)
        if not self._names:
            self._check_real()

    def _check_real(self) -> None:
        if any(weight.is_complex() for weight in self._network.parameters()):
            raise InputError(f"{self._where}: no layer can be truncated: their weights are complex")

    def found(self) -> list[Group]:
        """The weights that the network has now.

        Raises:
            InputError: a layer is gone, of another shape, or its weight is no parameter any more.
        """
        return [
            Group(
                scheme=self._scheme,
                shape=shape,
                weights=tuple(self._weight(*one) for one in sizes.items()),
            )
            for (_, shape), sizes in self._names.items()
        ]

    def _weight(self, name: str, size: torch.Size) -> Weight:
        try:
            parameter, rows = weight_at(self._network, name)
        except AttributeError:
            raise InputError(f"{self._where}: the network no longer has layer {name!r}") from None
        if not isinstance(parameter, nn.Parameter) or parameter[rows].shape != size:
            raise InputError(
                f"{self._where}: layer {name!r} no longer has the weight of shape {tuple(size)} "
                "that was chosen"
            )
        return Weight(name=name, parameter=parameter, rows=rows)


def _untrained(module: nn.Module) -> str | None:
    """Why training does not change the weight that the layer works with, or None."""
    weight = module.weight
    if not (isinstance(weight, nn.Parameter) and weight.requires_grad):
        return "its weight is not trained"
    return None if is_plain(module) else "its weight is computed from another"
