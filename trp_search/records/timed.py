"""How much is kept, in time on a target, which makes ranks of it; the ranks are recorded."""

from __future__ import annotations

import math
from typing import ClassVar, final

from pydantic.dataclasses import dataclass as checked
from typing_extensions import override

from trp_search.records.keep import Keep, WholeNetwork
from trp_search.records.kinds import STRICT, Factor, Positive


@final
@checked(frozen=True, config=STRICT)
class LatencySpeedup(WholeNetwork):
    """Time of the whole network before / after, as measured on a target."""

    written: ClassVar[str] = "{:g}x-on-the-clock"
    latency_speedup: Factor

    @override
    def within(self, total: float | int) -> float:
        return total / self.latency_speedup

    @override
    def best(self, total: float | int, least: float | int) -> str:
        most = math.floor(100 * total / least) / 100
        return (
            f"latency_speedup: {self.latency_speedup:g}x cannot be reached; the best is {most:.2f}x"
        )


@final
@checked(frozen=True, config=STRICT)
class Milliseconds(WholeNetwork):
    """The most milliseconds of the whole network, as measured on a target."""

    written: ClassVar[str] = "{:g}ms"
    milliseconds: Positive

    @override
    def within(self, total: float | int) -> float:
        return float(self.milliseconds)

    @override
    def best(self, total: float | int, least: float | int) -> str:
        fewest = f"the fewest are {least:.3g}"
        return f"milliseconds: {self.milliseconds:g} cannot be reached; {fewest}"


TIMED: dict[str, type[Keep]] = {kind.key(): kind for kind in (LatencySpeedup, Milliseconds)}
