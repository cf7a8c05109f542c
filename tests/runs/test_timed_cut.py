"""Ranks by time: the loop on made-up clocks, the plumbing on a real one whose times say nothing."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from trp_search.errors import InputError
from trp_search.lowrank.analysis import Analysis, analyse
from trp_search.lowrank.schemes import SCHEMES
from trp_search.lowrank.spectral import Spectral
from trp_search.lowrank.times import LayerTimes, Steps
from trp_search.records import Cut, Factored, Keep, LatencySpeedup, Pairs, Speedup
from trp_search.runs.clock import target_of
from trp_search.runs.timed_cut import fast_enough, settled, timed_cut
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


@pytest.fixture(scope="module")
def analysis() -> Analysis:
    torch.manual_seed(0)
    network = nn.Sequential(*(nn.Conv2d(24, 24, 3, padding=1) for _ in range(3))).eval()
    pairs = Spectral(SCHEMES["channel"], SCHEMES["spatial"])
    return analyse(network, torch.zeros(1, 24, 6, 6), pairs, replace(BUDGET, Speedup(1.0)))


BUDGET = Cut(keep=LatencySpeedup(1.5), scheme="per-layer", layers="all")


def replace(cut: Cut, keep: Keep) -> Cut:
    return dataclasses.replace(cut, keep=keep)


def by_the_root(analysis: Analysis, counted: list[float]):
    """A clock on which a network is as much faster as the root of its counted speedup."""
    each = {
        (x.layer.name, x.layer.scheme.name): x.layer for y in analysis.layers for x in y.candidates
    }

    def time(layers: Factored) -> Timing:
        chosen = [(each[name, scheme], rank) for name, (scheme, rank) in layers.items()]
        spared = sum(layer.dense_macs - int(layer.macs((rank,))) for layer, rank in chosen)
        counted.append(analysis.macs / (analysis.macs - spared))
        speedup = counted[-1] ** 0.5
        told = {"dense_seconds": 1e-3, "seconds": 1e-3 / speedup, "rounds": 20}
        return Timing(speedup=speedup, low=speedup, high=speedup, **told)

    return time


@settings(deadline=None, max_examples=20)
@given(st.floats(1.2, 2.2))
def test_what_ranks_by_time_do_not_reach_ranks_by_multiply_adds_may(analysis, asked):
    nothing = LayerTimes(total=1.0, saved={}, macs=analysis.macs)
    time = by_the_root(analysis, [])
    layers, timing = fast_enough(
        analysis, replace(BUDGET, LatencySpeedup(asked)), nothing, time=time
    )
    assert layers
    assert 0.97 * asked <= timing.low <= 1.2 * asked


def test_what_the_dense_network_keeps_to_is_cut_nowhere(analysis):
    def noise(layers: Factored) -> Timing:
        assert not layers
        return Timing(dense_seconds=1.0, seconds=1.0, speedup=1.0, low=0.9, high=1.1, rounds=20)

    nothing = LayerTimes(total=1.0, saved={}, macs=analysis.macs)
    layers, _ = fast_enough(analysis, replace(BUDGET, LatencySpeedup(1.0)), nothing, time=noise)
    assert layers == {}


def test_what_neither_reaches_is_refused_with_what_both_reach(analysis):
    counted: list[float] = []
    nothing = LayerTimes(total=1.0, saved={}, macs=analysis.macs)
    with pytest.raises(
        InputError, match=r"^latency_speedup: 50x cannot be reached; .+; by multiply-ad"
    ):
        fast_enough(
            analysis,
            replace(BUDGET, LatencySpeedup(50.0)),
            nothing,
            time=by_the_root(analysis, counted),
        )
    assert counted == sorted(counted)
    assert 1 <= len(counted) <= 6


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
    with pytest.raises(InputError, match=r"--scheme: tucker: time budgets are for .*spatial"):
        timed_cut(run, "baseline", dataclasses.replace(asked, scheme="tucker"), target, seconds=0.0)
