"""Second moments of layers' inputs, from one pass over images."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from trp_search.errors import InputError
from trp_search.lowrank.kernels import Part, groups_of, is_adjoint, ordered, shape_of
from trp_search.lowrank.patches import patches
from trp_search.lowrank.schemes import Scheme
from trp_search.lowrank.tracing import watch
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

    Products are single precision within a few images and summed in double. Memory holds the
    matrices of moments and, during a layer's call, the patches of a few images. A layer
    that is not called has no entry. The network is left as it was. Without `outputs` all moments
    are of inputs, which hold while weights move.

    Raises:
        InputError: there are no images, or a layer meets a value that is not finite.
    """
    sums: dict[tuple[str, str], Tensor] = {}

    def note(name: str, module: nn.Module, given: Tensor, output: Tensor) -> None:
        pixels = (output if is_adjoint(module) else given)[0].numel()
        images = max(1, _PATCHES // (pixels * math.prod(shape_of(module)[2:])))
        for scheme in layers[name][1]:
            for read, written in zip(
                torch.split(given, images), torch.split(output, images), strict=True
            ):
                writing = outputs and writes(module, scheme)
                rows = _rows(module, scheme, read.float(), written.float(), writing=writing)
                product = (rows @ rows.mT).double()
                if not product.isfinite().all():
                    raise InputError(
                        f"calibration: layer {name!r} meets a value that is not finite"
                    )
                key = (name, scheme.name)
                sums[key] = sums[key].add_(product) if key in sums else product

    watch(network, {name: module for name, (module, _) in layers.items()}, note, batches)
    return {
        (name, scheme.name): Moments(
            matrix=sums[name, scheme.name], of_outputs=outputs and writes(module, scheme)
        )
        for name, (module, schemes) in layers.items()
        for scheme in schemes
        if (name, scheme.name) in sums
    }


# Patch entries made at once, unless one image has more: 64 MB.
_PATCHES = 2**24


def _first(module: nn.Module, scheme: Scheme) -> Part:
    """The first to act of the layers in a layer's place, for one of its kernels."""
    shape = shape_of(module)
    first: Part = ordered(module, scheme.parts(shape, scheme.full_ranks(shape)))[0]
    return first


def writes(module: nn.Module, scheme: Scheme) -> bool:
    """Whether outputs replace inputs: the kernel is read at once, and outputs are fewer."""
    n, *read = shape_of(module)
    first = _first(module, scheme)
    at_once = (first.height or read[1] == 1) and (first.width or read[2] == 1)
    return at_once and not is_adjoint(module) and n <= math.prod(read)


def _rows(
    module: nn.Module, scheme: Scheme, given: Tensor, output: Tensor, *, writing: bool
) -> Tensor:
    """(b, d, s) every vector that the scheme's matrices read, or write, in one call.

    There are b blocks of channels, of which no matrix reads two; a single one has no axis.
    """
    blocks = groups_of(module)
    if writing:
        bias = module.bias
        channels = -1 if isinstance(module, nn.Linear) else 1
        rows = output.movedim(channels, 0).flatten(1)
        rows = rows - bias.unsqueeze(1) if isinstance(bias, Tensor) else rows
    elif isinstance(module, nn.Linear):
        rows = given.movedim(-1, 0).flatten(1)
    else:
        assert isinstance(module, _ConvNd)
        first = _first(module, scheme)
        rows, blocks = patches(module, given, output, first=first), blocks * first.groups
    return rows if blocks == 1 else rows.reshape(blocks, -1, rows.shape[1])
