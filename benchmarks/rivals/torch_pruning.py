"""Torch-Pruning: whole channels, by importances compared over the network, in small steps."""

from __future__ import annotations

import torch_pruning as tp
from torch import nn
from torch.nn import functional

from benchmarks.rivals.given import EXAMPLE, Given

STEPS = 100  # of one percent of what is removed at most
CALIBRATION = 128  # images of a gradient, anew in each step

IMPORTANCES = {
    "magnitude": tp.importance.GroupMagnitudeImportance,
    "taylor": tp.importance.GroupTaylorImportance,
    "bn-scale": tp.importance.BNScaleImportance,
}


def cut(given: Given) -> nn.Module:
    """Prunes inside of residual blocks, step by step, until the budget is kept.

    Torch-Pruning cannot prune channels that a shortcut pads: the network no longer runs.
    """
    network = given.network
    padded = [m for name, m in network.named_modules() if name.endswith("conv2")]
    pruner = tp.pruner.BasePruner(
        network,
        EXAMPLE,
        importance=IMPORTANCES[given.setting](),
        global_pruning=True,
        pruning_ratio=0.99,
        iterative_steps=STEPS,
        ignored_layers=[network.conv1, *padded, network.fc],
    )
    for _ in range(STEPS):
        if given.small_enough(network):
            return network
        if given.setting == "taylor":
            network.zero_grad()
            for images, labels in given.labelled(CALIBRATION):
                functional.cross_entropy(network(images), labels).backward()
        pruner.step()
    raise ValueError(f"{STEPS} steps do not reach {given.budget:g}x")
