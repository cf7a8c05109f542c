"""What the first of the layers in a convolution's place reads at each of its positions."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.modules.conv import _ConvNd

from trp_search.lowrank.kernels import Part


def patches(module: _ConvNd, given: Tensor, output: Tensor, *, first: Part) -> Tensor:
    """(C * taps, s) patches over the axes that are read at once.

    Along any other axis the kernel's taps land on single pixels; a pixel's weight is its landings.

    Args:
        module: a convolution or a transposed convolution.
        given: its input.
        output: its output.
        first: the first layer in its place.
    """
    axes = len(module.kernel_size)
    spans = (first.height, *[first.width] * (axes - 1))
    if module.transposed:
        found = _spread(module, given, spans)
        landings = _landings_of_adjoint(module, given.shape[2:], output.shape[2:])
    else:
        mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
        given = functional.pad(given, module._reversed_padding_repeated_twice, mode=mode)
        found = _windows(module, given, spans)
        landings = _landings(module, given.shape[2:])
    counts = given.new_ones(())
    for spanned, line in zip(spans, landings, strict=True):
        counts = counts.unsqueeze(-1) * (line.new_ones(1) if spanned else line).to(given)
    if counts.numel() > 1:
        found = found * counts.sqrt()
    return found.flatten(1).contiguous()


def _windows(module: _ConvNd, given: Tensor, spans: Sequence[bool]) -> Tensor:
    """(C * taps, batch, *positions) the pixels under the taps of a convolution."""
    axes = len(spans)
    for axis, spanned in enumerate(spans):
        if spanned:
            taps, dilation = module.kernel_size[axis], module.dilation[axis]
            given = given.unfold(axis + 2, dilation * (taps - 1) + 1, module.stride[axis])
            given = given[..., ::dilation]
    order = (1, *range(axes + 2, given.dim()), 0, *range(2, axes + 2))
    return given.permute(order).flatten(0, given.dim() - axes - 2)


def _spread(module: _ConvNd, given: Tensor, spans: Sequence[bool]) -> Tensor:
    """(C * taps, batch, *positions) the pixels that a transposed convolution's taps bring there."""

    def of(values: Sequence[int], other: int) -> tuple[int, ...]:
        return tuple(v if spanned else other for v, spanned in zip(values, spans, strict=True))

    assert not isinstance(module.padding, str)
    size, channels = of(module.kernel_size, 1), given.shape[1]
    each = torch.eye(prod(size), dtype=given.dtype, device=given.device)
    operator: Any = getattr(functional, f"conv_transpose{len(spans)}d")
    found: Tensor = operator(
        given,
        each.reshape(1, -1, *size).expand(channels, *[-1] * (len(size) + 1)),
        stride=of(module.stride, 1),
        padding=of(module.padding, 0),
        output_padding=of(module.output_padding, 0),
        dilation=of(module.dilation, 1),
        groups=channels,
    )
    return found.movedim(1, 0)


def _landings(module: _ConvNd, sizes: Sequence[int]) -> list[Tensor]:
    """(size,) by axis: how many of a convolution's taps land on each pixel of a padded line."""
    found = []
    lines = (module.kernel_size, module.stride, module.dilation, sizes)
    for taps, stride, dilation, size in zip(*lines, strict=True):
        starts = torch.arange(0, size - dilation * (taps - 1), stride)
        reached = starts.unsqueeze(1) + dilation * torch.arange(taps)
        found.append(torch.bincount(reached.flatten(), minlength=size))
    return found


def _landings_of_adjoint(
    module: _ConvNd, sizes: Sequence[int], written: Sequence[int]
) -> list[Tensor]:
    """(size,) by axis: how many taps of a transposed convolution bring each pixel to an output."""
    found = []
    for axis, (size, most) in enumerate(zip(sizes, written, strict=True)):
        assert not isinstance(module.padding, str)
        first = torch.arange(size) * module.stride[axis] - module.padding[axis]
        taps = module.dilation[axis] * torch.arange(module.kernel_size[axis])
        reached = first.unsqueeze(1) + taps
        found.append(((reached >= 0) & (reached < most)).sum(1))
    return found
