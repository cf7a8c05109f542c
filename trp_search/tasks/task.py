"""What a network is trained for, as one value: loss, score, agreement and distillation."""

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

    `answers` are what a network returns for (n, c, h, w) images, `wanted` what the data ask for.
    """

    @abstractmethod
    def loss(self, answers: Tensor, wanted: Tensor, settings: Training) -> Tensor:
        """The mean loss of a training batch."""

    @abstractmethod
    def distance(self, answers: Tensor, teacher: Tensor, temperature: float) -> Tensor:
        """How far answers are from a teacher's, on a scale with the loss."""

    @abstractmethod
    def sums(self, answers: Tensor, wanted: Tensor) -> Tensor:
        """(k,) double: what adds up from batch to batch; its last item is the sum of the losses."""

    @abstractmethod
    def score(self, sums: Sequence[float], images: int) -> Score:
        """The metric, from the sums of `images` but for that of the losses."""

    @abstractmethod
    def overtakes(self, one: Score, other: Score) -> bool:
        """Whether `one` is better by more than a standard error of the difference.

        Both are of the same images; so that candidates fall back that are behind on a sample.
        """

    @abstractmethod
    def differs(self, expected: Tensor, found: Tensor, *, by: float) -> str | None:
        """How answers within `by` of those expected mean something else; None where they do not."""

    @abstractmethod
    def misfit(self, answers: Tensor, *, images: int, classes: int) -> str | None:
        """Why answers to so many images are of no use here, or None."""

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
    """What `network` answers; the first item where it answers several."""
    output = network(images)
    # GoogLeNet and Inception return named tuples while training.
    found: Tensor = output if isinstance(output, Tensor) else output[0]
    return found


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Runs the block on `number` CPU threads.

    Sums over threads round by their number: only the same one gives the same score.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
