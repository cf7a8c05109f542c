"""The budgets for which one network is trained at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from trp_search.errors import InputError
from trp_search.records import Speedup

T = TypeVar("T")

BUDGETS = 24


def reached(
    speedups: Iterable[float], choose: Callable[[Speedup], T], *, least: int = 1
) -> list[T]:
    """What `choose` finds for each speedup, the lowest first, as far as they can be reached.

    Raises:
        InputError: fewer than `least` can be.
    """
    found: list[T] = []
    for speedup in speedups:
        try:
            found.append(choose(Speedup(speedup)))
        except InputError:
            if len(found) < least:
                raise
            break
    return found
