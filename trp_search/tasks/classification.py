"""Classification of images: cross-entropy and accuracy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor
from torch.nn import functional
from typing_extensions import override

from trp_search.records import Score, Training
from trp_search.records.scores import share
from trp_search.tasks.task import Task


@final
class Classification(Task):
    """`answers` are (n, classes) logits, `wanted` are (n,) labels."""

    @override
    def loss(self, answers: Tensor, wanted: Tensor, settings: Training) -> Tensor:
        return functional.cross_entropy(answers, wanted, label_smoothing=settings.label_smoothing)

    @override
    def distance(self, answers: Tensor, teacher: Tensor, temperature: float) -> Tensor:
        """The Kullback-Leibler divergence, times the temperature squared.

        The factor keeps gradients as large at any temperature (Hinton et al., arXiv 1503.02531,
        section 2). Autocast on a CPU would leave the logarithms in half precision.
        """
        kind = torch.promote_types(answers.dtype, torch.float32)
        wanted = functional.log_softmax(teacher / temperature, dim=1, dtype=kind)
        found = functional.log_softmax(answers / temperature, dim=1, dtype=kind)
        distance = functional.kl_div(found, wanted, reduction="batchmean", log_target=True)
        return distance * temperature**2

    @override
    def sums(self, answers: Tensor, wanted: Tensor) -> Tensor:
        logits = answers.float()
        loss = functional.cross_entropy(logits, wanted, reduction="sum")
        return torch.stack([(logits.argmax(1) == wanted).sum().double(), loss.double()])

    @override
    def score(self, sums: Sequence[float], images: int) -> Score:
        (correct,) = sums
        return share(int(correct), images)

    @override
    def overtakes(self, one: Score, other: Score) -> bool:
        error = math.sqrt(2 * other.value * (1 - other.value) / other.images)
        return one.value > other.value + error

    @override
    def differs(self, expected: Tensor, found: Tensor, *, by: float) -> str | None:
        if expected.shape[1] < 2:
            return None
        first, second = expected.topk(2, dim=1).values.unbind(1)
        moved = found.argmax(1) != expected.argmax(1)
        clear = bool((moved & (first - second > by)).any())
        return "an image is classified otherwise by a clear margin" if clear else None

    @override
    def misfit(self, answers: Tensor, *, images: int, classes: int) -> str | None:
        shape = tuple(answers.shape)
        if shape == (images, classes):
            return None
        return (
            f"returns a tensor {shape} for {images} images of {classes} classes, labels 0 to "
            f"{classes - 1}; ({images}, {classes}) is wanted"
        )
