"""Channel pruning of the baseline: by size, or by what the next layers need."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, final

from typing_extensions import override

from trp_search.methods.method import EVERY, IMAGES, Fields, Method
from trp_search.records import Cut, Speedup

_KEEPS = ("speedup", "parameters", "ratio")
_USUAL = Speedup(2.0)


@final
class Prune(Method):
    """Removes channels of the baseline, in all layers that share them, to 2x by default."""

    name = "prune"
    label = "prune"
    colour = "#b0457a"
    symbol = "pentagon"
    reads = EVERY | {*_KEEPS, *(f"cut_{name}" for name in _KEEPS)}
    reads |= {"importance", "factors", "allocation", "multiple", "calibration_images"}

    @override
    def problems(self, possible: Mapping[str, tuple[Any, ...]]) -> Iterator[tuple[str, str]]:
        for allocation in possible["allocation"]:
            if allocation not in ("knapsack", "uniform"):
                yield "allocation", f"method prune takes knapsack and uniform, not {allocation}"
        others = [name for name in possible if name.removeprefix("cut_") in _KEEPS[1:]]
        if others and set(possible.get("factors", ())) - {"none"}:
            yield "factors", f"needs a speedup, not {others[0]}"

    @override
    def cut(self, fields: Fields) -> Cut:
        given = {"keep": _USUAL, "importance": "magnitude", **fields, "scheme": self.name}
        fits = given["importance"] in ("lasso", "thinet") or given.get("factors")
        images = (given.get("calibration_images") or IMAGES) if fits else 0
        return Cut(**given | {"calibration_images": images})

    @override
    def called(self, settings: Fields) -> str:
        factors = settings.get("factors") or "none"
        beside = "" if factors == "none" else f" + {factors}"
        return f"{self.label} ({settings.get('importance', 'magnitude')}){beside}"
