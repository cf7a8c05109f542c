"""What validation chooses among networks, and how that does on test; see `benchmarks/front.py`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from trp_search import pareto
from trp_search.search.names import BASELINE
from trp_search.store import RunFolder

BUDGETS = (1.5, 2.0, 3.0, 4.0)


@dataclass(frozen=True, kw_only=True)
class Found:
    """A network: its accuracy on validation, its speedup, and what gives its accuracy on test."""

    accuracy: float
    speedup: float
    test: Callable[[], float]


def chosen(pool: Sequence[Found], plain: float) -> dict[str, object]:
    """Test accuracies of the choices at each budget, and what the front covers.

    The hypervolume is over accuracy and the share of multiply-adds kept, above the test accuracy
    `plain` of the plain network less 10 points.
    """
    row: dict[str, object] = {}
    for budget in BUDGETS:
        fast = [found for found in pool if found.speedup >= budget]
        best = max(fast, key=lambda found: (found.accuracy, found.speedup), default=None)
        row[f"{budget:g}x"] = best and best.test()
    mask = pareto.nondominated(np.array([[found.accuracy, found.speedup] for found in pool]))
    front = [found for found, kept in zip(pool, mask, strict=True) if kept]
    values = np.array([[found.test(), -1 / found.speedup] for found in front])
    return row | {"hypervolume": pareto.hypervolume(values, np.array([plain - 0.1, -1.0]))}


def trials_of(folder: RunFolder) -> list[str]:
    """The names of a run's trials, in order."""
    return sorted((name for name in folder.trial_names() if name != BASELINE), key=int)
