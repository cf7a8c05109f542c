"""Layers with fewer channels: in place, by the places kept, or by how many there are."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from trp_search.errors import InputError
from trp_search.lowrank.kernels import is_adjoint
from trp_search.records import Widths


def is_depthwise(module: object) -> bool:
    """Whether each input of a convolution has one output, which goes with it."""
    if not isinstance(module, _ConvNd):
        return False
    return 1 < module.groups == module.in_channels == module.out_channels


def is_paired(module: nn.Module) -> bool:
    """Whether channels come in pairs, one in and one out."""
    return isinstance(module, _BatchNorm) or is_depthwise(module)


def width_of(module: nn.Module) -> tuple[int, int] | None:
    """Channels in and out of a layer that can lose some; None of any other."""
    match module:
        case nn.Linear():
            return module.in_features, module.out_features
        case _ConvNd() if module.groups == 1 or is_depthwise(module):
            return module.in_channels, module.out_channels
        case _BatchNorm():
            return module.num_features, module.num_features
        case _:
            return None


@torch.no_grad()
def narrow_(module: nn.Module, read: Tensor, written: Tensor) -> None:
    """Keeps the channels in and out at these places alone; `width_of` the module is not None."""
    for name, found in sliced(module, read, written).items():
        before = getattr(module, name)
        if isinstance(before, nn.Parameter):
            setattr(module, name, nn.Parameter(found, requires_grad=before.requires_grad))
        else:
            setattr(module, name, found)
    resize_(module, read, written)


def sliced(module: nn.Module, read: Tensor, written: Tensor) -> dict[str, Tensor]:
    """Parameters and buffers of a module at these channels, in this order, differentiable."""
    axes, slices = _axes(module), {}
    for name, tensor in (*module._parameters.items(), *module._buffers.items()):
        if tensor is None or not tensor.dim():
            continue
        found = tensor
        for side, axis in axes.items() if name == "weight" else ((1, 0),):
            found = found.index_select(axis, (read, written)[side].to(tensor.device))
        slices[name] = found
    return slices


def resize_(module: nn.Module, read: Tensor, written: Tensor) -> None:
    """Says in the module's own numbers how many channels it has."""
    if isinstance(module, nn.Linear):
        module.in_features, module.out_features = len(read), len(written)
    elif isinstance(module, _ConvNd):
        module.groups = len(written) if is_paired(module) else 1
        module.in_channels, module.out_channels = len(read), len(written)
    elif isinstance(module, _BatchNorm):
        module.num_features = len(written)


def _axes(module: nn.Module) -> dict[int, int]:
    """The axis of a weight for channels in (0) and for those out (1)."""
    if is_paired(module):
        return {1: 0}
    return {0: 0, 1: 1} if is_adjoint(module) else {0: 1, 1: 0}


def narrow_to_(network: nn.Module, widths: Widths) -> None:
    """Gives modules these widths, in place; which channels stay is left to the weights to come.

    Raises:
        InputError: a module that the network does not have, or that cannot be so wide.
    """
    modules = dict(network.named_modules())
    for name, (read, written) in widths.items():
        found = width_of(modules[name]) if name in modules else None
        if found is None:
            raise InputError(f"widths: the network has no layer {name!r} that could be narrower")
        apart = read != written and is_paired(modules[name])
        if read > found[0] or written > found[1] or apart:
            raise InputError(
                f"widths: {name!r} has {found[0]} channels in and {found[1]} out, and cannot have "
                f"{read} and {written}"
            )
        narrow_(modules[name], torch.arange(read), torch.arange(written))
