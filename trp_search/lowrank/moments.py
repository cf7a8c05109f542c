"""Second moments of layers' inputs, from one pass over images."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from trp_search.errors import InputError
from trp_search.lowrank.kernels import Shape, shape_of
from trp_search.lowrank.schemes import Scheme
from trp_search.lowrank.tracing import watching
from trp_search.lowrank.truncation import Moments


@torch.no_grad()
def collect(
    network: nn.Module,
    batches: Iterable[Tensor],
    layers: Mapping[str, tuple[nn.Module, Sequence[Scheme]]],
    *,
    outputs: bool = True,
) -> dict[tuple[str, str], Moments]:
    """Second moments by layer and scheme, from forward passes of `network` over `batches`.

    Products are single precision within a few images and summed in double. Memory holds one square
    matrix per layer and scheme and, during a layer's call, the patches of a few images. A layer
    that is not called has no entry. The network is left as it was. Without `outputs` all moments
    are of inputs, which hold for other weights too.

    Raises:
        InputError: there are no images, or a layer meets a value that is not finite.
    """
    sums: dict[tuple[str, str], Tensor] = {}

    def note(name: str, module: nn.Module, given: Tensor, output: Tensor) -> None:
        images = max(1, _PATCHES // (given[0].numel() * math.prod(shape_of(module)[2:])))
        for scheme in layers[name][1]:
            for read, written in zip(
                torch.split(given, images), torch.split(output, images), strict=True
            ):
                of_outputs = outputs and writes(shape_of(module), scheme)
                rows = _rows(module, scheme, read.float(), written.float(), of_outputs=of_outputs)
                product = (rows @ rows.mT).double()
                if not product.isfinite().all():
                    raise InputError(
                        f"calibration: layer {name!r} meets a value that is not finite"
                    )
                key = (name, scheme.name)
                sums[key] = sums[key].add_(product) if key in sums else product

    empty = True
    with watching(network, {name: module for name, (module, _) in layers.items()}, note):
        for batch in batches:
            network(batch)
            empty = False
    if empty:
        raise InputError("calibration: there are no images")
    return {
        (name, scheme.name): Moments(
            matrix=sums[name, scheme.name],
            of_outputs=outputs and writes(shape_of(module), scheme),
        )
        for name, (module, schemes) in layers.items()
        for scheme in schemes
        if (name, scheme.name) in sums
    }


# Patch entries made at once, unless one image has more: 64 MB.
_PATCHES = 2**24


def writes(shape: Shape, scheme: Scheme) -> bool:
    """Whether outputs replace inputs: the kernel is read at once, and outputs are fewer."""
    n, c, *taps = shape
    at_once = all(together or size == 1 for together, size in zip(scheme.reads, taps, strict=True))
    return at_once and n <= c * math.prod(taps)


def _rows(
    module: nn.Module, scheme: Scheme, given: Tensor, output: Tensor, *, of_outputs: bool
) -> Tensor:
    """(d, s) every vector that the scheme's matrices read, or write, in one call."""
    if of_outputs:
        bias = module.bias
        channels = -1 if isinstance(module, nn.Linear) else 1
        written = output.movedim(channels, 0).flatten(1)
        return written - bias.unsqueeze(1) if isinstance(bias, Tensor) else written
    if isinstance(module, nn.Linear):
        return given.movedim(-1, 0).flatten(1)
    assert isinstance(module, nn.Conv1d | nn.Conv2d)
    return _patches(module, given, reads=scheme.reads)


def _patches(module: nn.Conv1d | nn.Conv2d, given: Tensor, *, reads: tuple[bool, bool]) -> Tensor:
    """(C * taps, s) patches over the axes that are read at once.

    Along any other axis the kernel's taps land on single pixels; a pixel's weight is its landings.
    """
    mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
    given = functional.pad(given, module._reversed_padding_repeated_twice, mode=mode)
    if isinstance(module, nn.Conv1d):
        given = given.unsqueeze(-1)
    sizes = ((*each, 1)[:2] for each in (module.kernel_size, module.stride, module.dilation))
    axes = list(zip(reads, *sizes, strict=True))
    taps, strides, dilations = zip(
        *((axis[1:] if axis[0] else (1, 1, 1)) for axis in axes), strict=True
    )
    patches = functional.unfold(given, taps, stride=strides, dilation=dilations)
    height, width = (
        given.new_ones(1) if axis[0] else _landings(size, *axis[1:]).to(given)
        for axis, size in zip(axes, given.shape[-2:], strict=True)
    )
    counts = height.unsqueeze(1) * width
    if counts.numel() > 1:
        rows = patches.shape[-1] // counts.shape[1] if reads[0] else counts.shape[0]
        patches = patches * counts.expand(rows, -1).flatten().sqrt()
    return patches.movedim(1, 0).flatten(1)


def _landings(size: int, taps: int, stride: int, dilation: int) -> Tensor:
    """(size,) how many taps land on each pixel of a line."""
    starts = torch.arange(0, size - dilation * (taps - 1), stride)
    reached = starts.unsqueeze(1) + dilation * torch.arange(taps)
    return torch.bincount(reached.flatten(), minlength=size)
