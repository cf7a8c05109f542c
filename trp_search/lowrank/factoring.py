"""Factoring of one layer into several smaller ones: sizes and costs, whatever the weights.

Weights are (N, C, kh, kw); a linear layer's weight counts as (N, C, 1, 1). Ranks are a tuple; the
last entry is the rank reported for a layer.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from torch import Tensor, nn
from typing_extensions import override

from trp_search import records


@dataclass(frozen=True, kw_only=True)
class Extent:
    """Pixels, or tokens, that a layer reads and writes for one image."""

    height_in: int
    width_in: int
    height_out: int
    width_out: int


Shape = tuple[int, int, int, int]
Ranks = tuple[int, ...]
Number = TypeVar("Number", int, Tensor)


class Factoring(ABC):
    """One way to replace a layer by smaller layers. Stateless."""

    name: records.LayerScheme

    @abstractmethod
    def full_ranks(self, shape: Shape) -> Ranks:
        """The least ranks at which nothing is lost."""

    @abstractmethod
    def macs(self, shape: Shape, extents: Iterable[Extent], ranks: Sequence[Number]) -> Number:
        """Multiply-adds for one image, over all calls of the layer."""

    @abstractmethod
    def parameters(self, shape: Shape, ranks: Sequence[Number]) -> Number:
        """Weights, without biases."""

    @abstractmethod
    def layers(self, module: nn.Module, ranks: Ranks) -> tuple[nn.Module, ...]:
        """The untrained layers that replace `module`; the last layer has its bias."""

    def useful(self, shape: Shape, ranks: Tensor) -> Tensor:
        """The (K, n) `ranks` without those larger than any kernel of this shape can use."""
        del shape
        return ranks

    def refuses(self, shape: Shape) -> str | None:
        """Why a kernel of this shape has no such factors, or None."""
        del shape
        return None


class Bottleneck(Factoring):
    """1 x 1 to the first rank, layers along the kernel's axes, 1 x 1 from the last rank."""

    @abstractmethod
    def between(self, module: nn.Conv2d, ranks: Ranks) -> tuple[nn.Conv2d, ...]:
        """The layers along the kernel's axes, without bias."""

    @override
    def layers(self, module: nn.Module, ranks: Ranks) -> tuple[nn.Module, ...]:
        """The first layer has no bias, so the others pad with the same values as `module`."""
        assert isinstance(module, nn.Conv2d)
        first = pointwise(module.in_channels, ranks[0])
        last = pointwise(ranks[-1], module.out_channels, bias=module.bias is not None)
        return first, *self.between(module, ranks), last

    @override
    def refuses(self, shape: Shape) -> str | None:
        return "1x1: nothing between its two channel axes" if shape[2:] == (1, 1) else None


def kernel(module: nn.Module) -> Tensor:
    """The weight of a convolution or linear layer as (N, C, kh, kw)."""
    weight = module.weight
    assert isinstance(weight, Tensor)
    return weight.detach().reshape(*weight.shape, *[1] * (4 - weight.dim()))


def shape_of(module: nn.Module) -> Shape:
    """(N, C, kh, kw) of a convolution or linear layer."""
    weight = module.weight
    assert isinstance(weight, Tensor)
    n, c, kh, kw = (*weight.shape, *[1] * (4 - weight.dim()))
    return n, c, kh, kw


def pointwise(channels_in: int, channels_out: int, *, bias: bool = False) -> nn.Conv2d:
    """A 1 x 1 convolution."""
    return nn.Conv2d(channels_in, channels_out, 1, bias=bias)


def along(  # noqa: PLR0913  what of a convolution differs
    module: nn.Conv2d,
    channels_in: int,
    channels_out: int,
    *,
    height: bool = True,
    width: bool = True,
    groups: int = 1,
    bias: bool = False,
) -> nn.Conv2d:
    """A convolution like `module` along the chosen axes, and 1 wide along any other axis."""

    def of(values: Sequence[int], other: int) -> tuple[int, int]:
        first, second = values
        return first if height else other, second if width else other

    padding = module.padding
    return nn.Conv2d(
        channels_in,
        channels_out,
        of(module.kernel_size, 1),
        stride=of(module.stride, 1),
        padding=padding if isinstance(padding, str) else of(padding, 0),
        dilation=of(module.dilation, 1),
        groups=groups,
        bias=bias,
        padding_mode=module.padding_mode,
    )
