"""Accuracy and loss of a network on batches of images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from trp_search.records import Score
from trp_search.records.scores import share
from trp_search.tasks.modes import evaluating


class DivergedError(Exception):
    """A loss, or a weight, stopped being finite."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The share of images classified correctly, and the mean cross-entropy."""

    score: Score
    loss: float


@torch.no_grad()
def evaluate(network: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> Evaluation:
    """Scores `network` in evaluation mode; its mode is restored. The host waits once."""
    sums: Tensor | None = None
    images = 0
    with evaluating(network):
        for inputs, labels in batches:
            logits = network(inputs).float()
            loss = functional.cross_entropy(logits, labels, reduction="sum")
            found = torch.stack([(logits.argmax(1) == labels).sum().double(), loss.double()])
            sums = found if sums is None else sums + found
            images += len(labels)
    assert sums is not None, "no batches"
    correct, loss_sum = sums.tolist()
    return Evaluation(score=share(int(correct), images), loss=loss_sum / images)


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Runs the block on `number` CPU threads.

    Sums over threads round by their number: only the same one gives the same count of images.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
