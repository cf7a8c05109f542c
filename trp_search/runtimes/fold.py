"""Batch norm folded into the layers before it, as in serving."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse
from torch.nn.modules.batchnorm import _BatchNorm

_TOLERANCE = 1e-3


def fold_batch_norm(network: nn.Module, images: Tensor) -> tuple[nn.Module, str]:
    """A copy of `network`, in evaluation mode, without the batch norms that could be folded.

    Args:
        network: not changed.
        images: (n, c, h, w), to check the copy; a copy with other outputs is rejected.

    Returns:
        The copy, and the outcome in words.
    """
    plain = copy.deepcopy(network).eval()
    number = _batch_norms(plain)
    if number == 0:
        return plain, "none in the network"
    try:
        folded = fuse(plain)
    except Exception as error:  # noqa: BLE001  tracing may raise anything
        return plain, f"not folded: {type(error).__name__}"
    if not _same(plain, folded, images):
        return plain, "not folded: the answers would change"
    left = _batch_norms(folded)
    return folded, f"{number - left} of {number} folded" if left else "folded"


def _batch_norms(network: nn.Module) -> int:
    return sum(isinstance(module, _BatchNorm) for module in network.modules())


@torch.no_grad()
def _same(one: nn.Module, other: nn.Module, images: Tensor) -> bool:
    expected, found = one(images), other(images)
    return bool((expected - found).abs().max() <= _TOLERANCE * (1 + expected.abs().max()))
