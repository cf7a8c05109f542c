"""Queries, keys and values as one linear layer, or as three: what cuts to the same speedup keep.

    python -m benchmarks.qkv search_spaces/cifar10_vit.yaml [--images 2000]

From the repository's folder, with timm and the space's weights (`benchmarks.vit`). Cuts weigh
errors by the activations of 256 training images; the share is of the baseline's outputs, squared.
"""

from __future__ import annotations

import argparse
import copy
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from trp_search import Speedup, decompose
from trp_search.space import load_space
from trp_search.tasks.task import threads
from trp_search.workloads import data, networks

SPEEDUPS = (1.75, 2.0, 2.5, 3.0)


class Three(nn.Module):
    """The outputs of one linear layer from three."""

    def __init__(self, one: nn.Linear) -> None:
        super().__init__()
        width, third = one.in_features, one.out_features // 3
        self.parts = nn.ModuleList(nn.Linear(width, third) for _ in range(3))
        for part, weight, bias in zip(
            self.parts, one.weight.chunk(3), one.bias.chunk(3), strict=True
        ):
            part.load_state_dict({"weight": weight, "bias": bias})

    @override
    def forward(self, tokens: Tensor) -> Tensor:
        """As the one layer."""
        return torch.cat([part(tokens) for part in self.parts], -1)


@torch.no_grad()
def main() -> None:
    """Reads the command line, cuts both networks, prints a line per speedup."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("space", type=Path)
    parser.add_argument("--images", type=int, default=2000)
    given = parser.parse_args()
    workload = load_space(given.space).workload
    assert workload.weights is not None, "the space names no file of weights"
    splits = data.load(workload.data, split_seed=0, outside_weights=True, device="cpu")
    shape, spec = splits.shape, workload.network
    one = networks.build(spec, channels=shape.channels, classes=shape.classes).eval()
    networks.load_weights(one, workload.weights, spec=spec, channels=shape.channels)
    three = copy.deepcopy(one)
    for name, module in one.named_modules():
        if name.endswith(".qkv") and isinstance(module, nn.Linear):
            three.set_submodule(name, Three(module))
    calibration = list(splits.train.calibration(256))
    batches = list(splits.validation.sample(given.images).batches(250))
    images, answers = (torch.cat(list(each)) for each in zip(*batches, strict=True))
    with threads(1):
        wanted = one(images)
        for speedup in SPEEDUPS:
            for name, network in (("one", one), ("three", three)):
                made = decompose(network, images[:1], Speedup(speedup), calibration=calibration)
                found = made.network.eval()(images)
                right = (found.argmax(1) == answers).float().mean().item()
                lost = functional.mse_loss(found, wanted) / wanted.square().mean()
                print(f"{speedup:g}x  {name:5}  {right:.2%}  {lost.item():.4f}", flush=True)


if __name__ == "__main__":
    main()
