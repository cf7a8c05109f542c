"""A training task as one value: loss, score, agreement and distillation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from trp_search.records import Score, Training
from trp_search.tasks.modes import evaluating


class DivergedError(Exception):
    """A loss, or a weight, stopped being finite."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The task's metric on some images, and their mean loss."""

    score: Score
    loss: float


class Task(ABC):
    """A task; the direction, the bounds and the format of its metric are in `records.objectives`.

    `answers` are a network's outputs for (n, c, h, w) images, `wanted` the targets in the data.
    """

    @abstractmethod
    def loss(self, answers: Tensor, wanted: Tensor, settings: Training) -> Tensor:
        """The mean loss of a training batch."""

    @abstractmethod
    def distance(self, answers: Tensor, teacher: Tensor, temperature: float) -> Tensor:
        """Distance of answers from a teacher's, on the scale of the loss."""

    @abstractmethod
    def sums(self, answers: Tensor, wanted: Tensor) -> Tensor:
        """(k,) double: sums that add up over batches; the last item is the sum of the losses."""

    @abstractmethod
    def score(self, sums: Sequence[float], images: int) -> Score:
        """The metric, from the sums over `images` without the sum of the losses."""

    @abstractmethod
    def overtakes(self, one: Score, other: Score) -> bool:
        """Whether `one` is better by more than a standard error of the difference.

        Both scores are on the same images; candidates behind on a sample fall back by this test.
        """

    @abstractmethod
    def differs(self, expected: Tensor, found: Tensor, *, by: float) -> str | None:
        """How answers within `by` of the expected ones differ in meaning; None where they agree."""

    @abstractmethod
    def misfit(self, answers: Tensor, *, images: int, classes: int) -> str | None:
        """Why answers to this number of `images` do not fit the task, or None."""

    @torch.no_grad()
    def evaluate(self, network: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> Evaluation:
        """Scores `network` in evaluation mode; its mode is restored. The host waits once."""
        sums: Tensor | None = None
        images = 0
        with evaluating(network):
            for inputs, wanted in batches:
                found = self.sums(network(inputs), wanted)
                sums = found if sums is None else sums + found
                images += len(wanted)
        assert sums is not None, "no batches"
        *counts, loss = sums.tolist()
        return Evaluation(score=self.score(counts, images), loss=loss / images)


def answers(network: Callable[[Tensor], Any], images: Tensor) -> Tensor:
    """The answers of `network`; the first item where it returns several."""
    output = network(images)
    # GoogLeNet and Inception return named tuples while training.
    found: Tensor = output if isinstance(output, Tensor) else output[0]
    return found


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Runs the block on `number` CPU threads.

    Rounding of sums depends on the number of threads: only an equal number gives an equal score.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
