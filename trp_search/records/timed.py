"""How much is kept, in time on a target."""

from __future__ import annotations

from typing import ClassVar, final

from pydantic.dataclasses import dataclass as checked

from trp_search.records.keep import Faster, UpTo, WholeNetwork
from trp_search.records.kinds import STRICT, Factor, Positive


@final
@checked(frozen=True, config=STRICT)
class LatencySpeedup(Faster):
    """At least X times faster than the baseline on the target."""

    written: ClassVar[str] = "{:g}x-on-the-clock"
    latency_speedup: Factor


@final
@checked(frozen=True, config=STRICT)
class Milliseconds(UpTo):
    """At most X milliseconds per batch on the target."""

    written, asked, found = "{:g}ms", "{:g}", "{:.3g}"
    milliseconds: Positive


TIMED: dict[str, type[WholeNetwork]] = {kind.key(): kind for kind in (LatencySpeedup, Milliseconds)}
_WITHIN = 0.03


def asked_of(keep: WholeNetwork, milliseconds: float) -> float:
    """How many times as fast a network that takes `milliseconds` has to be."""
    return milliseconds / keep.within(milliseconds)


def keeps(low: float, asked: float, *, again: bool = False) -> bool:
    """Whether a measured speedup keeps to the one `asked`, by the `low` end of its interval.

    Where it is to be measured `again` it has half the room.
    """
    return low >= asked * (1 - (_WITHIN / 2 if again else _WITHIN))


def near(speedup: float, asked: float) -> bool:
    """Whether a measured speedup is hardly more than what is `asked`."""
    return speedup <= asked * (1 + _WITHIN)
