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
from trp_search.lowrank.kernels import Shape, groups_of, is_adjoint, shape_of
from trp_search.lowrank.plain import is_plain
from trp_search.lowrank.schemes import SCHEMES, Scheme
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
    """Weights of one shape, unfolded and decomposed together.

    Attributes:
        turned: whether matrices are transposed, so that activations can weigh their errors; None
            makes them wide.
    """

    scheme: Scheme
    shape: Shape
    weights: tuple[Weight, ...]
    turned: bool | None = None

    @property
    def names(self) -> list[str]:
        """The layer of each weight."""
        return [weight.name for weight in self.weights]

    @property
    def values(self) -> list[Tensor]:
        """A view of each weight."""
        return [weight.values for weight in self.weights]

    @property
    def gradients(self) -> list[Tensor]:
        """A view of each weight's gradient; zeros for one that has none."""
        zero = torch.zeros_like(self.weights[0].values)
        return [zero if (g := weight.gradient) is None else g for weight in self.weights]

    def unfolded(self, tensors: Sequence[Tensor]) -> Tensor:
        """(b, m, n) the scheme's matrices of each tensor; tensors have the weights' shape."""
        found = [self.scheme.unfolded(tensor.detach(), self.shape) for tensor in tensors]
        return torch.cat(found).float()

    def stacked(self, tensors: Sequence[Tensor]) -> Tensor:
        """As `unfolded`, transposed if need be: see `turned`."""
        matrices = self.unfolded(tensors)
        return matrices.mT if self._turns(matrices) else matrices

    def folded(self, matrices: Tensor) -> list[Tensor]:
        """The tensors that `stacked` made `matrices` from."""
        turns = self._turns(self.scheme.unfolded(self.values[0], self.shape))
        return self.of_scheme(matrices.mT if turns else matrices)

    def of_scheme(self, matrices: Tensor) -> list[Tensor]:
        """The tensors that `unfolded` made `matrices` from."""
        return [
            self.scheme.folded(part, weight.values, self.shape)
            for part, weight in zip(matrices.chunk(len(self.weights)), self.weights, strict=True)
        ]

    def _turns(self, unfolded: Tensor) -> bool:
        return wide(unfolded)[1] if self.turned is None else self.turned


_Key = tuple[Scheme, int, Shape, bool | None]


@final
class Weights:
    """The trainable weights of `network` that schemes and `layers` choose, grouped by shape.

    Weights that a layer computes another from stay as they are.

    Loading with `assign=True`, moving a network or setting a layer's weight may replace a weight's
    tensor; `found` returns the current tensors.

    Attributes:
        names: the layers whose weights are chosen, in the network's order.
        left_out: the layers that are not chosen, with the reason.

    Args:
        network: any module.
        rows: its layers, each under one scheme or several, which say how weights are unfolded.
        where: prefix of error messages.
        reading: whether activations weigh errors: the columns of matrices are inputs then.

    Raises:
        InputError: the weights are complex.
    """

    def __init__(
        self,
        network: nn.Module,
        rows: Sequence[Sequence[MeasuredLayer]],
        *,
        where: str,
        reading: bool = False,
    ) -> None:
        self._network = network
        self._where = where
        self._names: dict[_Key, dict[str, torch.Size]] = defaultdict(dict)
        self.left_out: dict[str, str] = {}
        for row in rows:
            name, module = row[0].name, row[0].module
            fit = [SCHEMES[x.scheme.name] for x in row if x.reason is None]
            reason = _untrained(module) if fit else row[0].reason
            if reason is None:
                assert isinstance(module.weight, Tensor)
                for scheme in fit:
                    turned = scheme.reads_rows != is_adjoint(module) if reading else None
                    key = scheme, groups_of(module), shape_of(module), turned
                    self._names[key][name] = module.weight.shape
            else:
                self.left_out[name] = reason
        self.names = tuple(row[0].name for row in rows if row[0].name not in self.left_out)
        if not self._names:
            self._check_real()

    def _check_real(self) -> None:
        if any(weight.is_complex() for weight in self._network.parameters()):
            raise InputError(f"{self._where}: no layer can be truncated: their weights are complex")

    def found(self) -> list[Group]:
        """The weights that the network has now, once under each of their schemes.

        Raises:
            InputError: a layer is gone, of another shape, or its weight is no parameter any more.
        """
        return [
            Group(
                scheme=scheme,
                shape=shape,
                weights=tuple(self._weight(*one) for one in sizes.items()),
                turned=turned,
            )
            for (scheme, _, shape, turned), sizes in self._names.items()
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
