"""Decomposable-Net: one training for any rank (arXiv 1910.13141v3)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, final

from typing_extensions import override

from trp_search.methods.method import AMOUNT, EVERY, TIME, Fields, Method, out_of_order
from trp_search.records import Allocation, Cut, CutScheme, Joint

if TYPE_CHECKING:
    from trp_search.training.hook import Beginning, Hook

_JOINT = {"joint_alpha", "joint_lowest", "joint_highest", "joint_rank_min"}


@final
class Decomposable(Method):
    """Trains the network in full and truncated at once, then cuts by pooled singular values."""

    name = "decomposable"
    label = "Decomposable-Net"
    colour = "#c4527f"
    reads = EVERY | AMOUNT | TIME | _JOINT | {"start", "scheme"}
    trains = True
    part = "joint"
    passes = 2

    @override
    def problems(self, possible: Mapping[str, tuple[Any, ...]]) -> Iterator[tuple[str, str]]:
        for scheme in ("decoupled", "per-layer"):
            if scheme in possible["scheme"]:
                yield "scheme", f"method decomposable takes channel and spatial, not {scheme}"
        yield from out_of_order(possible, "joint", Joint)

    @override
    def cut(self, fields: Fields) -> Cut:
        return Cut(**{**fields, "allocation": "pooled"})

    @override
    def again(self, *, scheme: CutScheme, allocation: Allocation) -> Fields:
        del allocation
        return {"scheme": scheme, "allocation": "pooled"}

    @override
    def trained(self, fields: Fields) -> Joint:
        return Joint(**fields)

    @override
    def hook(self, begun: Beginning) -> Hook:
        from trp_search.training.joint import JointTraining

        spec = begun.spec
        assert spec.joint is not None
        return JointTraining(begun.network, begun.example_input, spec.joint, seed=spec.seed)
