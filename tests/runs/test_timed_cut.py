"""Ranks by time: the loop on made-up clocks, the plumbing on a real one whose times say nothing."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trp_search.errors import InputError
from trp_search.lowrank.times import LayerTimes, Steps
from trp_search.records import Cut, LatencySpeedup, Ranks
from trp_search.runs.clock import target_of
from trp_search.runs.timed_cut import settled, timed_cut
from trp_search.runtimes.timing import Timing
from trp_search.store import RunFolder

RANKS = range(1, 101)


def table(most: float) -> LayerTimes:
    """One layer that saves up to `most` of a network of one millisecond."""
    saved = {rank: most * (1 - rank / 100) for rank in RANKS}
    return LayerTimes(total=1.0, saved={("a", "spatial"): Steps(step=1, saved=saved)}, macs=1)


def solve(asked: float):
    """The highest rank that the table allows."""

    def solved(times: LayerTimes) -> dict[str, int]:
        wanted = 1 - 1 / asked
        ranks = [r for r in RANKS if times.saved_by({("a", "spatial"): r}) >= wanted]
        if not ranks:
            raise InputError("out of reach")
        return {"a": max(ranks)}

    return solved


def clock(most: float, *, doubt: float = 0.0):
    """What the layer truly saves."""

    def time(ranks: dict[str, int]) -> Timing:
        speedup = 1 / (1 - most * (1 - ranks["a"] / 100))
        return Timing(
            dense_seconds=1e-3,
            seconds=1e-3 / speedup,
            speedup=speedup,
            low=speedup * (1 - doubt),
            high=speedup * (1 + doubt),
            rounds=20,
        )

    return time


@settings(deadline=None)
@given(st.floats(1.3, 2.0), st.floats(0.6, 0.9), st.floats(0.6, 0.9))
def test_a_table_that_errs_is_corrected_by_the_whole_network(asked, told, true):
    wanted = Cut(keep=LatencySpeedup(asked), scheme="spatial")
    _, timing = settled(table(told), wanted, solve=solve(asked), time=clock(true))
    assert 0.97 * asked <= timing.low
    assert timing.speedup <= 1.06 * asked


def test_a_budget_that_the_clock_does_not_confirm_is_refused_in_one_line():
    wanted = Cut(keep=LatencySpeedup(2), scheme="spatial")
    with pytest.raises(InputError, match=r"^latency_speedup: 2 was not reached: [^\n]+$"):
        settled(table(0.9), wanted, solve=solve(2), time=clock(0.9, doubt=0.3))


@pytest.mark.slow
def test_a_run_s_network_gets_ranks_by_its_times_or_a_line_on_what_was_measured(run: RunFolder):
    target = target_of(run, "laptop", {"batch": 2})
    asked = Cut(keep=LatencySpeedup(1.05), scheme="spatial", calibration_images=8)
    found, said = asked, "latency_speedup: 1.05 was not reached"
    try:
        found, _ = timed_cut(run, "baseline", asked, target, seconds=0.0)
    except InputError as error:
        said = str(error)
    assert said.startswith("latency_speedup: 1.05")
    if found != asked:
        assert isinstance(found.keep, Ranks)
        assert dataclasses.replace(found, keep=asked.keep, layers=asked.layers) == asked
        assert found.keep.ranks.keys() <= {layer.name for layer in run.point("plain-2x").layers}
    with pytest.raises(InputError, match=r"latency_speedup: 1e\+06x cannot be reached; the best"):
        beyond = dataclasses.replace(asked, keep=LatencySpeedup(1e6))
        timed_cut(run, "baseline", beyond, target, seconds=0.0)
    with pytest.raises(InputError, match=r"--scheme: tucker: a budget in time is for .*spatial"):
        timed_cut(run, "baseline", dataclasses.replace(asked, scheme="tucker"), target, seconds=0.0)
