"""Elastic: one training of nested factors for every budget."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, final

from typing_extensions import override

from trp_search import records
from trp_search.methods.method import EVERY, Fields, Method, out_of_order
from trp_search.records import Allocation, Cut, CutScheme, Speedup

if TYPE_CHECKING:
    from trp_search.training.hook import Beginning, Hook

_OWN = {"elastic_lowest", "elastic_highest", "elastic_spread", "elastic_images"}
_CUTS = {f"cut_{name}" for name in records.KEEPS if name != records.Error.key()}
_USUAL = Speedup(3.0)


@final
class Elastic(Method):
    """Trains nested factors at budgets drawn at random, then leaves out what a budget cannot pay.

    Its points are told by the cut that a space names, to 3x by default.
    """

    name = "elastic"
    label = "elastic"
    colour = "#2f8f6b"
    scheme = "nested"
    reads = EVERY | _OWN | _CUTS | {"start", "scheme", "allocation", "multiple"}
    trains = True
    part = "elastic"
    any_budget = any_ranks = True
    passes = records.Elastic.draws

    @override
    def problems(self, possible: Mapping[str, tuple[Any, ...]]) -> Iterator[tuple[str, str]]:
        if "per-layer" in possible["scheme"]:
            yield "scheme", "method elastic takes channel, spatial and decoupled, not per-layer"
        yield from out_of_order(possible, "elastic", records.Elastic)

    @override
    def cut(self, fields: Fields) -> Cut:
        return Cut(**{"keep": _USUAL, **fields, "scheme": self.scheme})

    @override
    def again(self, *, scheme: CutScheme, allocation: Allocation) -> Fields:
        del scheme
        return {"scheme": self.scheme, "allocation": allocation}

    @override
    def trained(self, fields: Fields) -> records.Elastic:
        return records.Elastic(**fields)

    @override
    def hook(self, begun: Beginning) -> Hook:
        from trp_search.training.elastic import ElasticTraining

        spec = begun.spec
        assert spec.elastic is not None
        own = dict(vars(spec.elastic))
        images = own.pop("images")
        weighed = begun.samples(images) if images else None
        return ElasticTraining(
            begun.network, begun.example_input, calibration=weighed, seed=spec.seed, **own
        )
