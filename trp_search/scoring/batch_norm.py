"""Batch-norm statistics of a network whose weights were cut after training."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from trp_search.tasks.modes import evaluating


@torch.no_grad()
def reestimate(network: nn.Module, batches: Iterable[Tensor]) -> int:
    """Replaces running means and variances, in place, by their averages over `batches` of images.

    Forward passes only; modes and momenta are restored. Returns the number of images used, 0 if the
    network has no running statistics.
    """
    norms = [m for m in network.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    if not norms:
        return 0
    momenta = [norm.momentum for norm in norms]
    images = 0
    try:
        with evaluating(network):
            for norm in norms:
                norm.reset_running_stats()
                norm.momentum = None  # the average of all batches
                norm.train()
            for batch in batches:
                network(batch)
                images += len(batch)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
    return images
