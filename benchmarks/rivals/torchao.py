"""torchao's pruning-aware training with a minimal rank, then the decomposition of this project.

The constraint zeroes a share of each layer's singular values at every step and leaves the layer
whole; `decompose` factors it at the rank that is left.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping

import torch
from torch import nn
from torchao.prototype.pat import PruneOptimizer

from benchmarks.rivals import recipe
from benchmarks.rivals.given import EXAMPLE, Given
from trp_search import decompose

Shares = Mapping[str, float]  # of each layer's singular values, those to zero
PERIOD = 10  # steps between two truncations, as in TRP


def cut(given: Given) -> nn.Module:
    """The same share in every layer, the smallest that keeps to the budget."""
    names = constrained(given.network)
    share = given.least(lambda share: factored(given.network, dict.fromkeys(names, share)))
    return by_shares(given, dict.fromkeys(names, share))


def by_shares(given: Given, shares: Shares) -> nn.Module:
    """Truncates at once or, with epochs, more and more until half of them are over; factors."""
    network = copy.deepcopy(given.network)
    if given.epochs:
        images = given.splits.train
        steps = given.epochs * (len(images) // recipe.SETTINGS.batch_size)
        pruning = optimizer(network, shares, healing=steps // 2, gradual=True)
        recipe.train(
            network,
            images,
            given.weights,
            epochs=given.epochs,
            seed=given.seed,
            optimizer=pruning,
        )
    else:
        pruning = optimizer(network, shares, healing=1, gradual=False)
        for group in pruning.param_groups:
            group["lr"] = 0.0
        for weight in network.parameters():
            weight.grad = torch.zeros_like(weight)
        pruning.step()
    return factored(network, shares)


def optimizer(network: nn.Module, shares: Shares, *, healing: int, gradual: bool) -> PruneOptimizer:
    """torchao's, around that of the arms; the last truncation is before the step `healing`."""
    weights = {f"{name}.weight": share for name, share in shares.items()}
    groups: recipe.Groups = [
        {"params": [weight for name, weight in network.named_parameters() if name not in weights]}
    ]
    for name, share in weights.items():
        constraint = {"prox_type": "MinRankConstraint", "group_type": "SVDGrouper"}
        amount = {"min_sparsity": share, "min_sparsity_schedule": gradual, "prox_freq": PERIOD}
        groups.append({"params": [network.get_parameter(name)]} | constraint | amount)
    return PruneOptimizer(recipe.descent(groups), healing_start_step=healing)


def factored(network: nn.Module, shares: Shares) -> nn.Module:
    """Every layer at the rank that its share leaves, as filters and a 1x1 convolution."""
    full = {name: len(network.get_parameter(f"{name}.weight")) for name in shares}
    ranks = {n: max(1, full[n] - math.ceil(share * full[n])) for n, share in shares.items()}
    return decompose(network, EXAMPLE, ranks, scheme="channel").network


def constrained(network: nn.Module) -> list[str]:
    """All convolutions but the first."""
    return [n for n, m in network.named_modules() if isinstance(m, nn.Conv2d)][1:]
