"""Factors of layers nested by rank: the first r of each pair are the layer's factors at rank r.

A network that carries such factors has their full products as its weights, and is cut by leaving
factors out: no weights are decomposed again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn

from trp_search import records
from trp_search.errors import InputError
from trp_search.lowrank.attention import opened
from trp_search.lowrank.kernels import kernel, kind_of, shape_of
from trp_search.lowrank.schemes import SCHEMES
from trp_search.lowrank.truncation import beyond


@final
@dataclass(frozen=True, kw_only=True)
class Nested:
    """Factors of one layer, the most important rank first.

    Attributes:
        scheme: how the layer's kernels unfold into `matrices`.
        left: (b, m, q).
        right: (b, q, n).
        squares: (q,) the importance of each rank: squared singular values when training began.
    """

    scheme: records.Scheme
    left: Tensor
    right: Tensor
    squares: Tensor

    def __deepcopy__(self, _: dict[int, Any]) -> Nested:
        return self  # no cut changes it

    @property
    def matrices(self) -> Tensor:
        """(b, m, n) the products of all factors."""
        return self.left @ self.right

    def factors(self, rank: int) -> tuple[Tensor, Tensor]:
        """(b, m, r) and (b, r, n)."""
        return self.left[:, :, :rank], self.right[:, :rank]

    def values(self) -> Tensor:
        """(1, q) singular values when training began, the largest first."""
        return self.squares.sqrt().unsqueeze(0)

    def lost(self, *, layers: int) -> Tensor:
        """(1, q + 1) share of the importance beyond each rank from 0."""
        assert layers == 1, layers
        return beyond(self.squares.flip(0).unsqueeze(0))


_ATTRIBUTE = "nested_factors"


def factors_of(network: nn.Module) -> Mapping[str, Nested]:
    """The nested factors that a network carries, by layer; empty without any."""
    found: Mapping[str, Nested] = getattr(network, _ATTRIBUTE, {})
    return found


def carry_(network: nn.Module, factors: Mapping[str, Nested]) -> None:
    """Lets `network` carry `factors`; its weights must be their products already."""
    setattr(network, _ATTRIBUTE, dict(factors))


def check_products(network: nn.Module, factors: Mapping[str, Nested]) -> None:
    """Raises InputError where a weight of `network` is not the product of its factors.

    It may have been rounded to bfloat16 since, and back.
    """
    modules = dict(opened(network).named_modules())
    for name, found in factors.items():
        module = modules.get(name)
        if module is None or kind_of(module) is None:
            raise InputError(f"layer {name!r}: the network has none of that name to factor")
        scheme, shape = SCHEMES[found.scheme], shape_of(module)
        wanted, (most,) = scheme.unfolded(kernel(module), shape), scheme.full_ranks(shape)
        count, height, width = wanted.shape
        shapes = [tuple(part.shape) for part in (found.left, found.right, found.squares)]
        # The product of wrong shapes could be of any size.
        if shapes != [(count, height, most), (count, most, width), (most,)]:
            raise InputError(f"layer {name!r}: nested factors of other shapes: {shapes}")
        if not (found.squares >= 0).all() or not found.squares.isfinite().all():
            raise InputError(f"layer {name!r}: its ranks have no finite importance")
        rounded = torch.equal(wanted.bfloat16().to(wanted), wanted)
        close = torch.finfo(torch.bfloat16).eps if rounded else _CLOSE
        most_off = close * float(wanted.abs().max())
        if not torch.allclose(found.matrices.to(wanted), wanted, rtol=close, atol=most_off):
            raise InputError(f"layer {name!r}: its weight is not the product of its nested factors")


_CLOSE = 1e-3
