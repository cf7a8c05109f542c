"""Rules between the entries of a space; each breach is a key path and a sentence."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from trp_search.methods import METHODS, uses
from trp_search.methods.method import TIME
from trp_search.records import SUFFIXES
from trp_search.records.objectives import METRICS, OBJECTIVES, ON_THE_CLOCK
from trp_search.space import entries, warm_start
from trp_search.space.example import any_trial
from trp_search.space.model import SearchSpace
from trp_search.space.search_fields import Space
from trp_search.space.settings import TRAINED

Breach = tuple[str, str]


def breaches(space: SearchSpace) -> Iterator[Breach]:
    """Everything in `space` that no search could use."""
    yield from _by_scheme(space)
    yield from _pairs(space)
    yield from _methods(space)
    yield from _objectives(space)
    yield from _budgets_in_time(space)
    yield from _precision(space)
    yield from _unread(space)
    yield from _course(space)
    named = [timed.name for timed in space.timed_on]
    if again := entries.repeated(named):
        yield "targets", f"duplicate name {again[0]!r}"
    for name in ("speedups", "latency_speedups", "energies"):
        amounts: tuple[float, ...] = getattr(space.extra_cuts, name) or ()
        if copies := entries.repeated(amounts):
            yield f"extra_cuts.{name}", f"duplicate value {copies[0]:g}"
    yield from _rank_search(space)
    if space.trials > 1 and not space.parameters():
        yield "space", "nothing varies; give an entry a range or a list, or set trials: 1"


def _course(space: SearchSpace) -> Iterator[Breach]:
    """Rules of warm start, rungs and sampler."""
    for index, setting in enumerate(warm_start.settings(space)):
        for name, sentence in warm_start.problems(space, setting):
            yield f"warm_start[{index}].{name}", sentence
    if space.rungs is not None and space.repeats > 1:
        yield "rungs", f"need repeats: 1, not {space.repeats}"


def _by_scheme(space: SearchSpace) -> Iterator[Breach]:
    for name, entry in space.space.named().items():
        if isinstance(entry, entries.ByScheme):
            for scheme in space.space.schemes:
                if scheme not in entry.by_scheme:
                    where = f"{space.space.key(name)}.by_scheme"
                    yield where, f"has no entry for {scheme}, which can be drawn"


def _rank_search(space: SearchSpace) -> Iterator[Breach]:
    if space.rank_search is None or not space.rank_search.vectors:
        return
    own = space.space
    drawn = itertools.product(own.methods, own.schemes)
    trials = (any_trial(space, {"method": method, "scheme": scheme}) for method, scheme in drawn)
    if not any(space.searches_ranks(trial) for trial in trials):
        methods, schemes = ", ".join(own.methods), ", ".join(own.schemes)
        sentence = "needs trials with one rank for each layer, and none has it"
        yield "rank_search", f"{sentence} (methods: {methods}; schemes: {schemes})"


def _pairs(space: SearchSpace) -> Iterator[Breach]:
    own = space.space
    for kinds in (TRAINED, [f"cut_{name}" for name in TRAINED]):
        given = [n for n in kinds if (e := getattr(own, n)) is not None and any(entries.values(e))]
        if len(given) > 1:
            yield "space", f"takes one of {' and '.join(given)}"
    if True in _possible(space, "nesterov") and 0 in _possible(space, "momentum"):
        yield "space.training", "nesterov needs momentum above 0, and momentum can be 0"


def _methods(space: SearchSpace) -> Iterator[Breach]:
    own = space.space
    possible = {name: entries.values(entry) for name, entry in own.named().items()}
    for method in own.methods:
        for name, sentence in METHODS[method].problems(possible):
            yield f"space.{name}", sentence
    pairs = any(uses(method, "allocation") and uses(method, "scheme") for method in own.methods)
    entry = own.named()["allocation"]
    if isinstance(entry, entries.ByScheme):
        entry = entry.by_scheme.get("per-layer", entry)
    if pairs and "pooled" in entries.values(entry) and "per-layer" in own.schemes:
        yield "space.allocation", "pooled compares singular values of one scheme, not per-layer"
    tuning = max(float(epochs) for epochs in possible.get("fine_tuning_epochs", (0,)))  # type: ignore[arg-type]
    spent = space.least_epochs
    if any(METHODS[method].trains for method in own.methods) and tuning >= spent:
        yield "space.fine_tuning_epochs", f"{tuning:g} leaves nothing of a trial's {spent} epochs"


def _budgets_in_time(space: SearchSpace) -> Iterator[Breach]:
    """Rules of the budgets that take the table of layers' times."""
    own = space.space
    given = [name for name in sorted(TIME) if getattr(own, name) is not None]
    where = [f"space.{name}" for name in given]
    where += ["extra_cuts.latency_speedups"] if space.extra_cuts.latency_speedups else []
    if where and space.target is None:
        yield where[0], "needs `target`, the device and runtime where it counts"
    if given and "decoupled" in own.schemes:
        yield "space.scheme", f"decoupled pairs are not timed, which {given[0]} needs"
    for method in own.methods:
        for name in given:
            counted = "cut_speedup" if name.startswith("cut_") else "speedup"
            if uses(method, counted) and not uses(method, name):
                yield f"space.{name}", f"method {method} takes no time budget, but {counted}"


def _precision(space: SearchSpace) -> Iterator[Breach]:
    """Rules of trials in int8."""
    if space.quantizer is None:
        return
    told = {*space.objectives, *space.constraints, *((space.rungs and space.rungs.by) or ())}
    where, on_the_clock = space.target, sorted(told.intersection(ON_THE_CLOCK))
    if where and on_the_clock and not space.int8_on_target:
        there, tools = f"{where.runtime} on {where.device}", " or ".join(SUFFIXES)
        sentence = f"int8 runs in {tools} on cpu, not in {there}, where {on_the_clock[0]} counts"
        yield "space.precision", sentence
    if len(space.space.precisions) > 1 and not told.intersection(_OF_INT8):
        every = ", ".join(_OF_INT8)
        yield "space.precision", f"int8 could only lose: add one of {every} to the objectives"


# What int8 may improve.
_OF_INT8 = ("bytes", *ON_THE_CLOCK)


def _possible(space: SearchSpace, name: str) -> tuple[entries.Plain, ...]:
    """The possible values of a trial's training setting `name`."""
    entry = space.space.named_training().get(name)
    return (getattr(space.training, name),) if entry is None else entries.values(entry)


def _unread(space: SearchSpace) -> Iterator[Breach]:
    """Entries that differ from their default, which no method would read."""
    own = space.space
    training = own.named_training()
    for name, entry in own.named().items():
        asked = name in training or (
            name in own.model_fields_set and entry != Space.model_fields[name].default
        )
        if asked and not any(uses(method, name) for method in own.methods):
            yield own.key(name), f"is read by none of the methods: {', '.join(own.methods)}"


def _objectives(space: SearchSpace) -> Iterator[Breach]:
    if again := entries.repeated(space.objectives):
        yield "objectives", f"duplicate value {again[0]!r}"
    others = {metric.name for metric in METRICS.values()} - {space.metric.name}
    named = {"objectives": space.objectives, "constraints": tuple(space.constraints)}
    named |= {"rungs.by": space.rungs.by or () if space.rungs else ()}
    for where, names in named.items():
        for name in sorted(others.intersection(names)):
            task = space.workload.task
            yield where, f"{name} is no metric of {task}, whose metric is {space.metric.name}"
        for name in sorted(set(ON_THE_CLOCK).intersection(names)):
            if space.target is None:
                yield where, f"{name} needs `target`, the device and runtime where it counts"
    for name, bound in space.constraints.items():
        if problem := OBJECTIVES[name].problem(bound):
            yield f"constraints.{name}", problem
