"""Two callables timed in turn: the speedup and its confidence interval."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

from trp_search.records import Target

_SAMPLE_SECONDS = 2e-3
_SLOW_SECONDS = 0.1  # of one call, which a second one to warm up would not change
FEWEST = 20
_MOST = 2000

Call = Callable[[], object]


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Medians over the rounds: seconds of one call, the ratio and its 95 % interval."""

    dense_seconds: float
    seconds: float
    speedup: float
    low: float
    high: float
    rounds: int

    @property
    def slower(self) -> bool:
        """Whether the other one is slower for sure: all of the interval is below 1."""
        return self.high < 1


def clock_of(target: Target) -> Callable[[], float]:
    """A target's clock: for one thread the processor's, which other work cannot stretch."""
    alone = target.device == "cpu" and target.threads == 1
    return time.process_time if alone else time.perf_counter


def compare(
    dense: Call,
    other: Call,
    *,
    seconds: float,
    fewest: int = FEWEST,
    clock: Callable[[], float] = time.perf_counter,
) -> Timing:
    """Times both in turn, in alternating order, for about `seconds` and at least `fewest` rounds.

    Background load affects both equally, so it hardly changes the ratio of a round. The interval of
    the median is from order statistics, for any distribution, as if rounds were independent: long
    bursts of other work make the interval too narrow.
    """
    began = clock()
    calls = [_calls(call, clock) for call in (dense, other)]
    pairs: list[tuple[float, float]] = []
    while len(pairs) < fewest or (clock() - began < seconds and len(pairs) < _MOST):
        if len(pairs) % 2:
            second = _sample(other, calls[1], clock)
            first = _sample(dense, calls[0], clock)
        else:
            first = _sample(dense, calls[0], clock)
            second = _sample(other, calls[1], clock)
        pairs.append((first, second))
    ratios = sorted(first / second for first, second in pairs)
    below = _outside(len(ratios))
    return Timing(
        dense_seconds=statistics.median(first for first, _ in pairs),
        seconds=statistics.median(second for _, second in pairs),
        speedup=statistics.median(ratios),
        low=ratios[below],
        high=ratios[-1 - below],
        rounds=len(ratios),
    )


def _outside(rounds: int) -> int:
    """Rounds beyond either end of the 95 % interval of their median, by the sign test (exact)."""
    fewer = outside = 0  # of 2^rounds ways to lie below or above the median
    while True:
        fewer += math.comb(rounds, outside)
        if 40 * fewer > 2**rounds:
            return max(0, outside - 1)
        outside += 1


def _calls(call: Call, clock: Callable[[], float]) -> int:
    """Number of calls per sample that hides the clock's resolution; warms up."""
    call()
    if any(_sample(call, 1, clock) >= enough for enough in (_SLOW_SECONDS, _SAMPLE_SECONDS)):
        return 1
    return max(1, math.ceil(_SAMPLE_SECONDS / max(1e-9, _sample(call, 3, clock))))


def _sample(call: Call, calls: int, clock: Callable[[], float]) -> float:
    began = clock()
    for _ in range(calls):
        call()
    return (clock() - began) / calls
