"""Ranks by time: the loop on made-up clocks, the plumbing on a real one whose times say nothing."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trp_search.errors import InputError
from trp_search.lowrank.times import LayerTimes, Steps
from trp_search.records import Cut, Factored, LatencySpeedup, Pairs
from trp_search.runs.clock import target_of
from trp_search.runs.timed_cut import settled, timed_cut
from trp_search.runs.trial import cut_again
from trp_search.runtimes.timing import Timing
from trp_search.store import RunFolder

RANKS = range(1, 101)


def table(most: float) -> LayerTimes:
    """One layer that saves up to `most` of a network of one millisecond."""
    saved = {rank: most * (1 - rank / 100) for rank in RANKS}
    return LayerTimes(total=1.0, saved={("a", "spatial"): Steps(step=1, saved=saved)}, macs=1)


def solve(asked: float):
    """The highest rank that the table allows."""

    def solved(times: LayerTimes) -> Factored:
        wanted = 1 - 1 / asked
        ranks = [r for r in RANKS if times.saved_by({"a": ("spatial", r)}) >= wanted]
        if not ranks:
            raise InputError("out of reach")
        return {"a": ("spatial", max(ranks))}

    return solved


def clock(most: float, *, doubt: float = 0.0):
    """What the layer truly saves."""

    def time(layers: Factored) -> Timing:
        speedup = 1 / (1 - most * (1 - layers["a"][1] / 100))
        return Timing(
            dense_seconds=1e-3,
            seconds=1e-3 / speedup,
            speedup=speedup,
            low=speedup * (1 - doubt),
            high=speedup * (1 + doubt),
            rounds=20,
        )

    return time


@settings(deadline=None, max_examples=30)
@given(st.floats(1.3, 2.0), st.floats(0.6, 0.9), st.floats(0.6, 0.9))
def test_a_table_that_errs_is_corrected_by_the_whole_network(asked, told, true):
    _, timing = settled(table(told), LatencySpeedup(asked), solve=solve(asked), time=clock(true))
    assert 0.97 * asked <= timing.low
    assert timing.speedup <= 1.06 * asked


def test_a_budget_that_the_clock_does_not_confirm_is_refused_in_one_line():
    with pytest.raises(InputError, match=r"^latency_speedup: 2 was not reached: [^\n]+$"):
        settled(table(0.6), LatencySpeedup(2), solve=solve(2), time=clock(0.6, doubt=0.3))


@settings(deadline=None, max_examples=30)
@given(st.floats(1.3, 1.8), st.floats(0.0, 0.1))
def test_a_clock_in_doubt_gets_a_network_whose_lower_end_keeps_to_the_budget(asked, doubt):
    _, timing = settled(
        table(0.8), LatencySpeedup(asked), solve=solve(asked), time=clock(0.8, doubt=doubt)
    )
    assert 0.97 * asked <= timing.low <= 1.06 * asked


@pytest.mark.slow
def test_a_run_s_network_gets_pairs_by_its_times_or_a_line_on_what_was_measured(run: RunFolder):
    target = target_of(run, "laptop", {"batch": 2})
    asked = Cut(keep=LatencySpeedup(1.05), scheme="per-layer", calibration_images=8)
    found, said = asked, "latency_speedup: 1.05 was not reached"
    try:
        found, _ = timed_cut(run, "baseline", asked, target, seconds=0.0)
    except InputError as error:
        said = str(error)
    assert said.startswith("latency_speedup: 1.05")
    if found != asked:
        assert isinstance(found.keep, Pairs)
        assert dataclasses.replace(found, keep=asked.keep, layers=asked.layers) == asked
        point = cut_again(run, "baseline", found)
        made = {x.name: (x.scheme, x.rank) for x in point.layers if x.scheme is not None}
        assert made == found.keep.pairs
    layers = [one for one in run.read_cut_times() if one.kind is not None]
    assert {scheme for one in layers for scheme, _ in one.layers.values()} == {"channel", "spatial"}
    with pytest.raises(InputError, match=r"latency_speedup: 1e\+06x cannot be reached; the best"):
        beyond = dataclasses.replace(asked, keep=LatencySpeedup(1e6))
        timed_cut(run, "baseline", beyond, target, seconds=0.0)
    known = [one for one in run.read_cut_times() if one.kind is not None]
    assert known == layers, "a second cut times no layer again"
    with pytest.raises(InputError, match=r"--scheme: tucker: a budget in time is for .*spatial"):
        timed_cut(run, "baseline", dataclasses.replace(asked, scheme="tucker"), target, seconds=0.0)
