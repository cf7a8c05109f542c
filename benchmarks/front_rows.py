"""What validation chooses among networks, and how that does on test; see `benchmarks/front.py`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from trp_search.records import BASELINE
from trp_search.selection import pareto
from trp_search.store import RunFolder

BUDGETS = (1.5, 2.0, 3.0, 4.0)


@dataclass(frozen=True, kw_only=True)
class Found:
    """A network: its accuracy on validation, its speedup, and what gives its accuracy on test."""

    accuracy: float
    speedup: float
    test: Callable[[], float]


def chosen(pool: Sequence[Found], plain: float) -> dict[str, object]:
    """Test accuracies of what validation chooses at each budget, and of all budgets together.

    The hypervolume is that of the choices: over the share of multiply-adds that a budget leaves,
    the test accuracy of what is chosen there, above that of the baseline less 10 points.
    """
    row: dict[str, object] = {}
    for budget in BUDGETS:
        fast = [found for found in pool if found.speedup >= budget]
        best = max(fast, key=lambda found: (found.accuracy, found.speedup), default=None)
        row[f"{budget:g}x"] = best and best.test()
    mask = pareto.nondominated(np.array([[found.accuracy, found.speedup] for found in pool]))
    kept = [found for found, on_front in zip(pool, mask, strict=True) if on_front]
    front = sorted(kept, key=lambda found: -found.speedup)
    shares = np.array([*(1 / found.speedup for found in front), 1.0])
    above = np.array([max(0.0, found.test() - plain + 0.1) for found in front])
    return row | {"hypervolume": float((np.diff(shares) * above).sum())}


def trials_of(folder: RunFolder) -> list[str]:
    """The names of a run's trials, in order."""
    return sorted((name for name in folder.trial_names() if name != BASELINE), key=int)
