"""An example trial of a space, for checks before the search."""

from __future__ import annotations

from collections.abc import Mapping

from trp_search.records import TrialSpec
from trp_search.space.entries import Scalar
from trp_search.space.model import SearchSpace


def any_trial(
    space: SearchSpace, chosen: Mapping[str, Scalar], *, longest: bool = False, last: bool = False
) -> TrialSpec:
    """A trial with the values `chosen`, by the names of `parameters()`.

    `longest=True` takes the most epochs. Other parameters have their first value, or with `last`
    their last.
    """
    drawn: dict[str, Scalar] = {}
    for parameter in space.parameters():
        options = parameter.choices or (parameter.low, parameter.high)
        known = [option for option in options if option is not None]
        long = longest and ("epochs" in parameter.name or "distillation" in parameter.name)
        drawn[parameter.name] = max(known, key=float) if long else known[-last]
    return space.trial_spec(drawn | dict(chosen), number=0)
