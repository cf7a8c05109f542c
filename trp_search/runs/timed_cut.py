"""A time budget: layers timed in their network, ranks chosen, the whole timed, and again."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from trp_search.errors import InputError
from trp_search.lowrank.analysis import Analysis
from trp_search.lowrank.choice import choose
from trp_search.lowrank.times import LayerTimes
from trp_search.records import (
    TAKES,
    Cut,
    Factored,
    Keep,
    Pairs,
    Ranks,
    Speedup,
    Target,
    WholeNetwork,
)
from trp_search.records.timed import asked_of, keeps, near
from trp_search.runs import networks, setup
from trp_search.runs.layer_times import Stopwatch
from trp_search.runtimes.serving import runtime
from trp_search.runtimes.timing import Timing
from trp_search.store import RunFolder
from trp_search.tasks.task import threads

_ROUNDS = 4
_TRIED, _STEP = 6, 1.4  # counted speedups
_LEAST_FACTOR = 0.05
_BY_LAYER = {Ranks.key(), Pairs.key()}


def check_timed(wanted: Cut, target: Target) -> None:
    """Raises InputError where ranks by time cannot be chosen for this scheme or target."""
    if not TAKES[wanted.scheme] & _BY_LAYER:
        schemes = ", ".join(name for name, takes in TAKES.items() if takes & _BY_LAYER)
        raise InputError(f"--scheme: {wanted.scheme}: time budgets are for {schemes}")
    runtime(target.runtime).check(target.device)


def timed_cut(
    folder: RunFolder, name: str, wanted: Cut, target: Target, *, seconds: float
) -> tuple[Cut, Timing]:
    """`wanted`, a time budget, as ranks by layer; and how fast these are on `target`.

    Args:
        folder: the run.
        name: of the trial whose weights are cut.
        wanted: the cut.
        target: where its time counts.
        seconds: spent on each timing.

    Raises:
        InputError: the budget is out of reach, or `check_timed` refuses.
    """
    check_timed(wanted, target)
    spec = setup.on_this_machine(folder.trial(name).read_spec())
    begun = setup.begin(spec, folder, network=networks.trained(folder, name))
    with threads(spec.threads):
        analysis = begun.cuts.analysis(wanted)
    with threads(target.threads):
        clock = Stopwatch(
            folder,
            analysis.network,
            (one.layer for layer in analysis.layers for one in layer.candidates),
            target,
            channels=begun.splits.shape.channels,
            seconds=seconds,
        )
        layers, timing = fast_enough(analysis, wanted, clock.table(), time=clock.time)
    return as_chosen(wanted, layers), timing


def fast_enough(
    analysis: Analysis, wanted: Cut, times: LayerTimes, *, time: Callable[[Factored], Timing]
) -> tuple[Factored, Timing]:
    """The slowest network found that keeps to a time budget: ranks by time, or by multiply-adds.

    Ranks by multiply-adds are tried where those by time do not reach the budget: what layers save
    does not add up everywhere.

    Raises:
        InputError: neither keeps to it.
    """
    keep = wanted.keep
    assert isinstance(keep, WholeNetwork), keep
    asked = asked_of(keep, times.total)
    if asked <= 1:  # the baseline, whatever the noise
        return {}, time({})
    try:
        return settled(times, keep, solve=lambda known: solved(analysis, wanted, known), time=time)
    except InputError as refused:
        try:
            return by_multiply_adds(analysis, wanted, asked, time=time)
        except InputError as too:
            raise InputError(f"{refused}; {too}") from None


def by_multiply_adds(
    analysis: Analysis, wanted: Cut, asked: float, *, time: Callable[[Factored], Timing]
) -> tuple[Factored, Timing]:
    """The network of the least counted speedup found that is measured `asked` times as fast.

    Raises:
        InputError: none was, up to the most that ranks reach.
    """
    low, high, at, fastest = 1.0, None, asked, 1.0
    found: tuple[Factored, Timing] | None = None
    for _ in range(_TRIED):
        try:
            layers = solved(analysis, dataclasses.replace(wanted, keep=Speedup(at)))
        except InputError:  # beyond what ranks reach
            high = at
        else:
            timing = time(layers)
            fastest = max(fastest, timing.speedup)
            if keeps(timing.low, asked):
                high, found = at, (layers, timing)
            else:
                low = at
        at = _STEP * low if high is None else (low * high) ** 0.5
    if found is None:
        raise InputError(f"by multiply-adds at most {fastest:.2f}x was measured")
    return found


def settled(
    times: LayerTimes,
    keep: Keep,
    *,
    solve: Callable[[LayerTimes], Factored],
    time: Callable[[Factored], Timing],
) -> tuple[Factored, Timing]:
    """The slowest network found that keeps to the budget, by the lower end of its interval.

    Each network's time corrects the table, whose layers were timed one kind at a time.

    Raises:
        InputError: none keeps to it within 3 %.
    """
    assert isinstance(keep, WholeNetwork), keep
    asked = asked_of(keep, times.total)
    found: list[tuple[Factored, Timing]] = []
    for _ in range(_ROUNDS):
        try:
            layers = solve(times)
        except InputError:
            if found:  # by the table as it was at first it was within reach
                break
            raise
        timing = time(layers)
        found.append((layers, timing))
        if keeps(timing.low, asked, again=True) and (near(timing.low, asked) or not layers):
            break
        # What is fast enough but for its interval has to be a little faster.
        measured = timing.low if keeps(timing.speedup, asked, again=True) else timing.speedup
        promised, saved = times.saved_by(layers), times.total * (1 - 1 / measured)
        times = times.scaled(max(saved / promised, _LEAST_FACTOR) if promised > 0 else 1.0)
    kept = [pair for pair in found if keeps(pair[1].low, asked)]
    if not kept:
        fastest = max((timing for _, timing in found), key=lambda timing: timing.low)
        raise InputError(
            f"{keep.key()}: {keep.amount:g} was not reached: at best {fastest.speedup:.2f}x "
            f"({fastest.low:.2f} to {fastest.high:.2f}) was measured, not {asked:.2f}x"
        )
    safe = [pair for pair in kept if keeps(pair[1].low, asked, again=True)]
    return min(safe or kept, key=lambda pair: pair[1].speedup)


def solved(analysis: Analysis, wanted: Cut, times: LayerTimes | None = None) -> Factored:
    """The layers that a budget puts in factors, one in time by its table; raises as `choose`."""
    choices = choose(analysis, wanted, other_macs=analysis.other_macs, times=times)
    picked = [(c.candidate.layer, c.ranks[-1]) for c in choices if c.candidate is not None]
    return {layer.name: (layer.scheme.name, rank) for layer, rank in picked}


def as_chosen(wanted: Cut, layers: Factored) -> Cut:
    """`wanted` with these layers in factors, in place of its budget."""
    pairs: Any = dict(layers)  # checked where it is kept
    keep: Keep = Pairs(pairs)
    if Ranks.key() in TAKES[wanted.scheme]:
        keep = Ranks({name: rank for name, (_, rank) in layers.items()})
    return dataclasses.replace(wanted, keep=keep, layers="all")
