"""Universally slimmable: one training of a network at any width (arXiv 1903.05134)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, final

from typing_extensions import override

from trp_search import records
from trp_search.methods.method import EVERY, Fields, Method
from trp_search.records import Allocation, Cut, CutScheme, Speedup

if TYPE_CHECKING:
    from trp_search.training.hook import Beginning, Hook

_CUTS = {f"cut_{name}" for name in ("speedup", "parameters", "ratio")}
_USUAL = Speedup(2.0)


@final
class Slimmable(Method):
    """Trains a network at many widths at once, then leaves out the last channels.

    Its points are told by the cut that a space names, to 2x by default.
    """

    name = "slimmable"
    label = "slimmable"
    colour = "#8a6d1f"
    symbol = "pentagon"
    reads = EVERY | _CUTS | {"start", "slimmable_highest", "importance", "allocation", "multiple"}
    trains = any_budget = True
    part = "slimmable"
    passes = 2  # of the four networks of a step three are narrower

    @override
    def problems(self, possible: Mapping[str, tuple[Any, ...]]) -> Iterator[tuple[str, str]]:
        for name, allowed in (
            ("importance", ("magnitude", "bn-scale")),
            ("allocation", ("knapsack", "uniform")),
        ):
            for value in possible.get(name, ()):
                if value not in allowed:
                    takes = " and ".join(allowed)
                    yield name, f"method slimmable takes {takes}, not {value}"

    @override
    def cut(self, fields: Fields) -> Cut:
        return Cut(**{"keep": _USUAL, **fields, "scheme": "prune", "importance": "leading"})

    @override
    def again(self, *, scheme: CutScheme, allocation: Allocation) -> Fields:
        del scheme
        return {"scheme": "prune", "importance": "leading", "allocation": allocation}

    @override
    def trained(self, fields: Fields) -> records.Slimmable:
        return records.Slimmable(**fields)

    @override
    def hook(self, begun: Beginning) -> Hook:
        from trp_search.training.slimmable import SlimmableTraining

        spec = begun.spec
        assert spec.slimmable is not None
        return SlimmableTraining(begun.network, begun.example_input, spec.slimmable, seed=spec.seed)
