"""The cuts that a space makes of each trained network beside a trial's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trp_search.records import Cut, Energy, Keep, LatencySpeedup, PairScheme, Speedup
from trp_search.space import entries
from trp_search.space.search_fields import Space
from trp_search.space.sections import ExtraCuts

# The baseline's own cuts, from 1.1x to about 4x on the residual networks that are shipped.
CONTROL_ENERGIES = (0.99, 0.97, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6)

# By all cuts of a setting.
SHARED = ("layers", "reestimate_batch_norm", "batch_norm_images")


def controls(space: Space) -> tuple[Cut, ...]:
    """The baseline's own cuts, by each scheme."""
    return tuple(
        Cut(scheme=scheme, keep=Energy(energy), **_first(space, scheme))
        for scheme in space.schemes
        for energy in CONTROL_ENERGIES
    )


def of_controls(space: Space, extra: ExtraCuts) -> tuple[Cut, ...]:
    """The baseline's cuts to the budgets of `extra`."""
    same = _first(space, space.schemes[0])
    return _budgets(_keeps(extra, truncated=False), extra, same)


def further(
    setting: Mapping[str, Any], own: Cut, extra: ExtraCuts, *, truncated: bool
) -> tuple[Cut, ...]:
    """A trial's further cuts, in its own method if that has one.

    Args:
        setting: of the trial.
        own: its own cut.
        extra: what is asked for.
        truncated: whether training truncated its weights.
    """
    same = {name: setting[name] for name in SHARED} | {"multiple": own.multiple}
    budgets = _keeps(extra, truncated=truncated)
    energies = extra.energies_of(truncated=truncated)
    if own.pools or not own.weighs:
        kind = {"scheme": own.scheme, "allocation": own.allocation} | same
        kind |= {"importance": own.importance}
        found = [Cut(keep=Energy(energy), **kind) for energy in energies if own.pools]
        found += [Cut(keep=keep, **kind) for keep in budgets]
    else:
        own_scheme = setting.get("scheme", own.scheme)
        found = [Cut(scheme=own_scheme, keep=Energy(energy), **same) for energy in energies]
        found += _budgets(budgets, extra, same)
    return tuple(cut for cut in found if cut != own)


def _first(space: Space, scheme: PairScheme) -> dict[str, Any]:
    """Settings that cuts share: of each entry the first value for `scheme`."""
    named = space.named()
    return {name: entries.first(named[name], scheme=scheme) for name in SHARED}


def _keeps(extra: ExtraCuts, *, truncated: bool) -> list[Keep]:
    speedups = extra.speedups_of(truncated=truncated)
    return [*map(Speedup, speedups), *map(LatencySpeedup, extra.latency_speedups)]


def _budgets(keeps: Sequence[Keep], extra: ExtraCuts, same: Mapping[str, Any]) -> tuple[Cut, ...]:
    images = extra.calibration_images
    return tuple(
        Cut(scheme="per-layer", keep=keep, calibration_images=images, **same) for keep in keeps
    )
