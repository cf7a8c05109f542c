"""Factoring of one layer into several smaller ones: sizes and costs, whatever the weights.

Shapes, extents and costs are those of one kernel: see `kernels`. Ranks are a tuple; the last entry
is the rank reported for a layer.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar, cast

from torch import Tensor, nn
from typing_extensions import override

from trp_search import records
from trp_search.lowrank.kernels import Extent, Part, Shape, built, groups_of, shape_of

Ranks = tuple[int, ...]
Number = TypeVar("Number", int, Tensor)


class Factoring(ABC):
    """One way to replace a layer by smaller layers. Stateless."""

    name: records.LayerScheme
    by_group: bool = True  # whether it factors the kernels of a grouped convolution

    @abstractmethod
    def full_ranks(self, shape: Shape) -> Ranks:
        """The least ranks at which nothing is lost."""

    @abstractmethod
    def parts(self, shape: Shape, ranks: Sequence[Number]) -> tuple[Part, ...]:
        """The layers in the place of a kernel, as a convolution's."""

    def macs(self, shape: Shape, extents: Iterable[Extent], ranks: Sequence[Number]) -> Number:
        """Multiply-adds for one image, over all calls of the layer.

        Strides take effect, and edges are lost, where a part spans the axis.
        """
        found: Any = 0
        for extent in extents:
            height, width = extent.height_in, extent.width_in
            for part in self.parts(shape, ranks):
                height = extent.height_out if part.height else height
                width = extent.width_out if part.width else width
                found += part.weights(shape) * height * width
        return cast("Number", found)

    def parameters(self, shape: Shape, ranks: Sequence[Number]) -> Number:
        """Weights, without biases."""
        return cast("Number", sum(part.weights(shape) for part in self.parts(shape, ranks)))

    def layers(self, module: nn.Module, ranks: Ranks) -> tuple[nn.Module, ...]:
        """The untrained layers that replace `module`; the last layer has its bias."""
        return built(module, self.parts(shape_of(module), ranks))

    def useful(self, shape: Shape, ranks: Tensor) -> Tensor:
        """The (K, n) `ranks` without those larger than any kernel of this shape can use."""
        del shape
        return ranks

    def refuses(self, shape: Shape) -> str | None:
        """Why a kernel of this shape has no such factors, or None."""
        del shape
        return None

    def unfit(self, module: nn.Module) -> str | None:
        """Why a layer has no such factors, or None."""
        shape = shape_of(module)
        if groups_of(module) > 1 and 1 in shape[:2]:
            return "depthwise convolution"
        if groups_of(module) > 1 and not self.by_group:
            return f"grouped convolution, which {self.name} does not factor"
        return self.refuses(shape)


class Bottleneck(Factoring):
    """1 x 1 to the first rank, layers along the kernel's axes, 1 x 1 from the last rank."""

    by_group = False

    @abstractmethod
    def between(self, ranks: Sequence[Number]) -> tuple[Part, ...]:
        """The layers along the kernel's axes."""

    @override
    def parts(self, shape: Shape, ranks: Sequence[Number]) -> tuple[Part, ...]:
        n, c, *_ = shape
        first, last = Part(read=c, written=ranks[0]), Part(read=ranks[-1], written=n)
        return first, *self.between(ranks), last

    @override
    def refuses(self, shape: Shape) -> str | None:
        return "1x1: nothing between its two channel axes" if shape[2:] == (1, 1) else None
