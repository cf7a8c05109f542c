"""What every rival is given: the baseline, images, a budget and a count of multiply-adds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.resnet20_arms import DATA, SPLIT
from trp_search.lowrank.counter import multiply_adds
from trp_search.records import NetworkSpec
from trp_search.tasks import TASKS
from trp_search.training.checkpoint import load_tensors
from trp_search.workloads import data, networks
from trp_search.workloads.splits import Splits

EXAMPLE = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
TASK = TASKS["classification"]
SCORED = 500  # validation images of a score while a rival searches


def resnet20(weights: Path) -> nn.Module:
    """The baseline."""
    network = networks.build(NetworkSpec(name="resnet20"), channels=3, classes=10)
    load_tensors(network, weights)
    return network.eval()


def macs(network: nn.Module) -> int:
    """Multiply-adds of one image, by torch's counter."""
    return multiply_adds(network, EXAMPLE[:1])


@dataclass(frozen=True, kw_only=True)
class Given:
    """A task for a rival.

    Attributes:
        weights: the baseline's.
        setting: which of the rival's ways.
        budget: times fewer multiply-adds than the baseline, at least.
        epochs: of training, for a rival that cuts while it trains; 0 is the cut alone.
        seed: of the baseline and of every draw.
        folder: for files that networks of several budgets share.
    """

    weights: Path
    setting: str
    budget: float
    epochs: int
    seed: int
    folder: Path

    @cached_property
    def network(self) -> nn.Module:
        """The baseline, in evaluation mode; it may be changed."""
        return resnet20(self.weights)

    @cached_property
    def splits(self) -> Splits:
        """The images: a rival trains on the first part and chooses by the second."""
        return data.load(DATA, split_seed=SPLIT, outside_weights=False, device="cpu")

    def score(self, network: nn.Module) -> float:
        """The accuracy on some validation images, by which a rival chooses."""
        batches = self.splits.validation.sample(SCORED).batches(250)
        return TASK.evaluate(network, batches).score.value

    def labelled(self, count: int) -> list[tuple[Tensor, Tensor]]:
        """Training images with labels, in batches."""
        batches = self.splits.train.batches(128, seed=self.seed, epoch=0)
        return [batch for _, batch in zip(range(-(-count // 128)), batches, strict=False)]

    def small_enough(self, network: nn.Module) -> bool:
        """Whether the network keeps to the budget."""
        return self.budget * macs(network) <= macs(resnet20(self.weights))

    def least(self, make: Callable[[float], nn.Module]) -> float:
        """The smallest share removed, in (0, 1), whose network keeps to the budget, by bisection.

        For rivals whose dial is a share to remove and that take no budget of multiply-adds.
        """
        low, high = 0.0, 1.0
        for _ in range(10):
            share = (low + high) / 2
            low, high = (low, share) if self.small_enough(make(share)) else (share, high)
        if high == 1:
            raise ValueError(f"no share removed reaches {self.budget:g}x")
        return high
