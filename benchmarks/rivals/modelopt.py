"""NVIDIA ModelOpt's FastNAS: widths by how much accuracy each layer loses alone."""

from __future__ import annotations

import modelopt.torch.prune as mtp
from modelopt.torch.prune.fastnas import FastNASConfig
from torch import nn

from benchmarks.rivals.given import EXAMPLE, Given, macs, resnet20

CALIBRATION = 1024  # images of batch norm's statistics


def cut(given: Given) -> nn.Module:
    """Searches under `flops`, which FastNAS counts itself: tighter until our count agrees."""
    divisor = int(given.setting.removeprefix("divisor "))
    rules = FastNASConfig().model_dump()
    for kind, key in (("nn.Conv2d", "channel_divisor"), ("nn.BatchNorm2d", "feature_divisor")):
        rules[kind]["*"][key] = divisor
    dense, allowed = macs(resnet20(given.weights)), 1 / given.budget
    for _ in range(10):
        network, _ = mtp.prune(
            resnet20(given.weights),
            mode=[("fastnas", rules)],
            constraints={"flops": f"{100 * allowed:.3f}%"},
            dummy_input=EXAMPLE[:1],
            config={
                "data_loader": given.labelled(CALIBRATION),
                "collect_func": lambda batch: batch[0],
                "score_func": given.score,
                "checkpoint": str(given.folder / f"fastnas-{divisor}.pth"),
            },
        )
        if given.small_enough(network):
            return network
        allowed *= 0.999 * (dense / given.budget) / macs(network)
    raise ValueError(f"flops do not reach {given.budget:g}x")
