"""`trp-search select`: the network to use within a budget."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

from trp_search.cli.arguments import Json, Run
from trp_search.cli.budget import FLAGS, budgeted
from trp_search.cli.console import following, line, pairs, raw, warn
from trp_search.cli.formatting import command, here
from trp_search.errors import InputError, NothingFoundError
from trp_search.records import Latency, Point, Scheme, to_dict
from trp_search.records.objectives import TIMES
from trp_search.report.formatting import against_baseline, in_int8, repeated, scored, sizes
from trp_search.report.styles import precision
from trp_search.report.times import SLOWER, clock, predicted, slower
from trp_search.selection.axes import COUNTED, MACS, times_of
from trp_search.selection.budgets import Budget
from trp_search.selection.select import Choice, choose, shown_beside
from trp_search.selection.snapshot import Snapshot
from trp_search.space.settings import SERVED

_HIDDEN = {"momentum", "nesterov", "weight_decay", "gamma", "channels_last", "precision"}
_HIDDEN |= {SERVED}  # told among the sizes
_SCHEMES = get_args(Scheme)


@budgeted
def select(run: Run, *, budget: Budget | None, as_json: Json = False) -> None:
    """Choose the best network within one budget."""
    if budget is None:
        raise InputError(f"select: give one of {FLAGS}")
    found = Snapshot.of(run)
    choice = choose(found, budget)
    if as_json:
        raw(json.dumps(as_values(choice), indent=2))
    else:
        _show(found, choice, budget)
    path, trial = here(found.folder.path), choice.point.trial
    if choice.unmet is not None:
        asked = budget.speedup if choice.axis is MACS and not as_json else None
        if asked is not None and _can_be_cut(found, choice.point, asked):
            following([command("cut", path, "--trial", trial, "--speedup", f"{asked:g}")])
        raise NothingFoundError(choice.unmet)
    if not as_json:
        out = Path("models") / f"{found.folder.path.name}-{TIMES(choice.point.speedup)[:-1]}x"
        following([command("export", path, "--point", choice.point.id, "--out", out)])


def _can_be_cut(run: Snapshot, point: Point, speedup: float) -> bool:
    """Whether a per-layer cut of the point's trained weights surely reaches the speedup.

    Judged by the run's own cuts; no network is built.
    """
    place = run.folder.trial(point.trial)
    if not place.weights.exists():
        return False
    layers = place.read_spec().cuts[0].layers
    least: dict[str, int] = {}  # multiply-adds of each layer at rank 1
    for other in run.points:
        alike = other.cut is not None and other.cut.layers == layers
        for layer in other.layers if alike else ():
            if layer.rank and layer.scheme in _SCHEMES:
                before = least.get(layer.name, layer.dense_macs)
                least[layer.name] = min(before, layer.macs // layer.rank)
    saved = sum(one.dense_macs - least.get(one.name, one.dense_macs) for one in point.layers)
    return point.dense_macs >= speedup * (point.dense_macs - saved)


def _show(run: Snapshot, choice: Choice, budget: Budget) -> None:
    point, test = choice.point, choice.test
    heading = "Smallest" if budget.kind.smallest else f"Best {point.score.name} on validation"
    if not choice.reached:
        heading = "Nearest"
    size = f"{TIMES(choice.axis.of(point))} {choice.axis.fewer}"
    if choice.axis.slower(point):
        size = f"{SLOWER} on {choice.axis.target}"
    line(f"{heading}: point {point.id}, {size}", style="bold")
    pairs(
        [
            ("validation", scored(point.score)),
            *(
                [against_baseline(choice.drop, point.score.metric)]
                if choice.drop is not None
                else []
            ),
            *([repeated(point, choice.repeats)] if choice.repeats else []),
            ("test", scored(test.score) if test else "not scored yet; export scores it"),
            *sizes(point),
            *predicted(point.predicted, choice.times),
            *map(clock, choice.times),
            *in_int8(point),
            ("batch norm", point.batch_norm),
        ]
    )
    _beside(run, choice, budget)
    line()
    line("Settings", style="bold")
    shown = {name: value for name, value in point.told.items() if name not in _HIDDEN}
    pairs([(name, _plain(value)) for name, value in shown.items()] or [("", "none recorded")])
    if choice.control is not None:
        control = choice.control
        line()
        warn(
            f"the baseline's own cut {control.id} does better at this budget: "
            f"{control.score.shown} at {TIMES(choice.axis.of(control))}{_mark(run, control)}"
        )


def _mark(run: Snapshot, point: Point) -> str:
    said = slower(times_of(point, run.latencies))
    return f", {said}" if said else ""


def _beside(run: Snapshot, choice: Choice, budget: Budget) -> None:
    """The front's neighbours, and the cost of another half step."""
    point, axis = choice.point, choice.axis
    rows = [(f"better {point.score.name}", choice.larger), ("smaller", choice.smaller)]
    rows.append((f"at {TIMES(axis.of(point) + 0.5)} or more", choice.half_step))
    shown = []
    for name, other in rows:
        if other is None:
            shown.append((name, "none: the front ends here"))
        else:
            cost = against_baseline(other.score.behind(point.score), point.score.metric)[1]
            mark = _mark(run, other)
            size = f"{shown_beside(axis.of(other), budget)}{TIMES.suffix}"
            shown.append((name, f"point {other.id}: {size}, {cost}{mark}"))
    line()
    line("Beside it on the front", style="bold")
    pairs(shown)


def _plain(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _timed(found: Latency) -> dict[str, float | bool]:
    span = {"speedup": found.speedup, "low": found.low, "high": found.high}
    return {"milliseconds": 1e3 * found.seconds, **span, "slower": found.slower}


def as_values(choice: Choice) -> dict[str, Any]:
    """The choice as plain values; a score is under the name of its split."""
    point, test = choice.point, choice.test

    def beside(other: Point | None) -> dict[str, Any] | None:
        if other is None:
            return None
        lost = other.score.behind(point.score)
        return {"point": other.id, "times": choice.axis.of(other), "validation_drop": lost}

    return {
        "reached": choice.reached,
        "point": point.id,
        "speedup": point.speedup,
        "validation": to_dict(point.score),
        "validation_drop": choice.drop,
        "test": to_dict(test.score) if test else None,
        "other_seeds": [repeat.score.value for repeat in choice.repeats],
        "other_seeds_speedups": [repeat.speedup for repeat in choice.repeats],
        **{name: n for axis in COUNTED.values() for name, n in axis.counts(point).items()},
        "precision": precision(point),
        "int8": to_dict(point.int8) if point.int8 else None,
        "settings": point.settings,
        "better_control": choice.control.id if choice.control else None,
        "by": choice.axis.by,
        "target": choice.axis.target,
        "times": choice.axis.of(point),
        "predicted": to_dict(point.predicted) if point.predicted else None,
        "latencies": {one.target.name: _timed(one) for one in choice.times},
        "larger": beside(choice.larger),
        "smaller": beside(choice.smaller),
        "half_step": beside(choice.half_step),
    }
