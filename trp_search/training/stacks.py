"""The nested factors of all layers of one shape, as they are trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trp_search.lowrank.nested import Nested
from trp_search.training.weights import Group


@dataclass(frozen=True, kw_only=True)
class Stack:
    """The factors of all layers of one shape.

    Attributes:
        left: (b, m, q), as many matrices for each layer.
        right: (b, q, n).
        squares: (l, q) as `Nested` has them for each layer.
        kept: (G, l, q) the ranks of each layer at each budget, as masks.
    """

    left: nn.Parameter
    right: nn.Parameter
    squares: Tensor
    kept: Tensor

    @staticmethod
    def of(group: Group, started: Mapping[str, Nested], grid: Sequence[Mapping[str, int]]) -> Stack:
        """The stack of `group`; `grid` has ranks by layer for each budget."""
        own = [started[weight.name] for weight in group.weights]
        left = torch.cat([one.left for one in own])
        width = left.shape[-1]
        ranks = torch.tensor(
            [[budget.get(weight.name, width) for weight in group.weights] for budget in grid]
        )
        kept = torch.arange(width) < ranks.unsqueeze(-1)
        return Stack(
            left=nn.Parameter(left),
            right=nn.Parameter(torch.cat([one.right for one in own])),
            squares=torch.stack([one.squares for one in own]),
            kept=kept.to(left),
        )

    def tensors(self) -> dict[str, Tensor]:
        """All of it, as a resumed training needs it."""
        parts = ("left", "right", "squares", "kept")
        return {part: getattr(self, part).detach() for part in parts}

    def mask(self, places: Tensor) -> Tensor:
        """(b, q) the ranks of each matrix, from the (l,) places of the layers on the grid."""
        layers = self.kept.shape[1]
        each = len(self.left) // layers
        chosen = self.kept[places.to(self.kept.device), torch.arange(layers)]
        return chosen.repeat_interleave(each, 0)

    def products(self, mask: Tensor) -> Tensor:
        """(b, m, n) the matrices with only the ranks of `mask`."""
        return (self.left * mask.unsqueeze(-2)) @ self.right

    def pulled_back(self, group: Group, mask: Tensor) -> tuple[Tensor, Tensor]:
        """The gradients of both factors from those of the weights at the ranks of `mask`."""
        matrices = group.unfolded(group.gradients)
        left = (matrices @ self.right.mT) * mask.unsqueeze(-2)
        return left, mask.unsqueeze(-1) * (self.left.mT @ matrices)

    def factors(self, group: Group) -> dict[str, Nested]:
        """The factors by layer."""
        count = len(group.weights)
        sides = zip(self.left.detach().chunk(count), self.right.detach().chunk(count), strict=True)
        return {
            weight.name: Nested(
                scheme=group.scheme.name,
                left=left.clone(),
                right=right.clone(),
                squares=squares,
            )
            for weight, (left, right), squares in zip(
                group.weights, sides, self.squares, strict=True
            )
        }
