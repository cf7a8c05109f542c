"""Kinds of layers as one: groups of (N, C, kh, kw) kernels, and layers from parts of a kernel.

- A linear layer is 1 x 1.
- A 1-d kernel is k x 1. The depth of a 3-d kernel is its height; its height and width together are
  the width, so that `spatial` is a kd x 1 x 1 and a 1 x kh x kw convolution.
- A grouped convolution is g kernels (N/g, C/g, kh, kw), a block-diagonal matrix. All have one rank,
  and each of the layers in its place has g groups as well.
- A transposed convolution is the adjoint of a convolution with the same stored weight, in which
  inputs and outputs, N and C change places. What replaces it are the adjoints of what replaces
  that convolution, in reverse order: for `channel` 1 x 1 to r channels, at the resolution of the
  input, and then kh x kw transposed, (N kh kw + C) r multiply-adds for each pixel of the input.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils import parametrize

from trp_search.lowrank.plain import effective
from trp_search.tasks.modes import evaluating

Shape = tuple[int, int, int, int]

KINDS: tuple[type[nn.Module], ...] = (
    nn.Linear,
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)


@dataclass(frozen=True, kw_only=True)
class Extent:
    """Pixels, or tokens, that a layer reads and writes for one image.

    The height of a 1-d layer is its length, that of a 3-d layer its depth.
    """

    height_in: int
    width_in: int
    height_out: int
    width_out: int


@dataclass(frozen=True, kw_only=True)
class Part:
    """One of the layers in the place of a kernel; 1 wide along an axis that it does not span.

    Channels and groups are numbers, or tensors of them to count layers of many sizes at once.
    """

    read: Any
    written: Any
    height: bool = False
    width: bool = False
    groups: Any = 1

    def weights(self, shape: Shape) -> Any:  # noqa: ANN401  a number, or a tensor of them
        """The weights of the layer in the place of a kernel of this shape."""
        taps = (shape[2] if self.height else 1) * (shape[3] if self.width else 1)
        return self.read // self.groups * self.written * taps


def kind_of(module: nn.Module) -> type[nn.Module] | None:
    """Which of `KINDS` a module is, by itself or as a subclass; None for any other."""
    return next((kind for kind in KINDS if isinstance(module, kind)), None)


def groups_of(module: nn.Module) -> int:
    """The number of kernels of a layer."""
    return module.groups if isinstance(module, _ConvNd) else 1


def is_adjoint(module: nn.Module) -> bool:
    """Whether a layer is a transposed convolution."""
    return isinstance(module, _ConvNd) and module.transposed


def weight_of(module: nn.Module) -> Tensor:
    """The weight that a layer works with, which some compute from their own.

    A parametrisation that moves whenever it is read in training rests.
    """
    if parametrize.is_parametrized(module, "weight"):
        with evaluating(module):
            weight = module.weight
    else:
        found = effective(module)
        weight = module.weight if found is None else found
    assert isinstance(weight, Tensor)
    return weight


def shape_of(module: nn.Module) -> Shape:
    """(N, C, kh, kw) of each of a layer's kernels."""
    parametrised = parametrize.is_parametrized(module, "weight")
    weight = weight_of(module) if parametrised else module.weight
    assert isinstance(weight, Tensor)
    n, c, *taps = weight.shape
    height, *plane = taps or [1]
    return n // groups_of(module), c, height, math.prod(plane)


def kernel(module: nn.Module) -> Tensor:
    """The weight of a layer as (g N, C, kh, kw): its kernels, one after the other."""
    weight = weight_of(module)
    return weight.detach().reshape(-1, *shape_of(module)[1:])


def seen(module: nn.Module, extents: Iterable[Extent]) -> list[Extent]:
    """The extents of a layer as those of the convolution that has its kernel."""
    if not is_adjoint(module):
        return list(extents)
    return [
        Extent(
            height_in=one.height_out,
            width_in=one.width_out,
            height_out=one.height_in,
            width_out=one.width_in,
        )
        for one in extents
    ]


def ordered(module: nn.Module, factors: Sequence[Any]) -> tuple[Any, ...]:
    """The factors of a layer's kernel in the order in which they act."""
    return tuple(reversed(factors)) if is_adjoint(module) else tuple(factors)


def built(module: nn.Module, parts: Sequence[Part]) -> tuple[nn.Module, ...]:
    """The untrained layers that replace `module`, as they act; the last layer has its bias."""
    *first, last = ordered(module, parts)
    bias = module.bias is not None
    return *(_layer(module, part, bias=False) for part in first), _layer(module, last, bias=bias)


def _layer(module: nn.Module, part: Part, *, bias: bool) -> nn.Module:
    """A layer like `module` along the axes that the part spans."""
    if isinstance(module, nn.Linear):
        return nn.Linear(part.read, part.written, bias=bias)
    assert isinstance(module, _ConvNd)
    spans = (part.height, *[part.width] * (len(module.kernel_size) - 1))
    any_axis = any(spans)

    def of(values: Sequence[int], other: int) -> tuple[int, ...]:
        return tuple(v if spanned else other for v, spanned in zip(values, spans, strict=True))

    # The first layer has no bias, so the others pad with the same values as `module`.
    padding = module.padding if any_axis else (0,) * len(spans)
    options: dict[str, Any] = {
        "kernel_size": of(module.kernel_size, 1),
        "stride": of(module.stride, 1),
        "padding": padding if isinstance(padding, str) else of(padding, 0),
        "dilation": of(module.dilation, 1),
        "groups": part.groups * module.groups,
        "bias": bias,
        "padding_mode": module.padding_mode if any_axis else "zeros",
    }
    channels = part.read * module.groups, part.written * module.groups
    if module.transposed:
        channels = channels[1], channels[0]
        options["output_padding"] = of(module.output_padding, 0)
    kind: Any = kind_of(module)
    made: nn.Module = kind(*channels, **options)
    return made
