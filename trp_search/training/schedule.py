"""Learning rate as a pure function of progress, so that a resumed training needs no state."""

from __future__ import annotations

import math

from trp_search.records import Training


def learning_rate(training: Training, progress: float) -> float:
    """The rate at `progress`, the share of all iterations that are done, in [0, 1)."""
    if progress < training.warmup:
        return training.learning_rate * (progress / training.warmup)
    if training.schedule == "cosine":
        after = (progress - training.warmup) / (1 - training.warmup)
        return training.learning_rate * 0.5 * (1 + math.cos(math.pi * after))
    if training.schedule == "step":
        drops = sum(progress >= milestone for milestone in training.milestones)
        return training.learning_rate * training.gamma**drops
    return training.learning_rate
