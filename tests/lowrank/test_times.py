"""Time as a cost: made-up tables, as measured ones are never the same twice."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from trp_search import decompose
from trp_search.errors import InputError
from trp_search.lowrank.analysis import analyse
from trp_search.lowrank.choice import choose
from trp_search.lowrank.decompositions import DECOMPOSITIONS
from trp_search.lowrank.times import LayerTimes, Steps
from trp_search.records import Cut, LatencySpeedup, Layer, Milliseconds, Speedup

tables = st.dictionaries(st.integers(1, 8), st.floats(-5, 5), min_size=1)


@settings(deadline=None)
@given(tables, st.sampled_from([1, 4, 8]))
def test_a_higher_rank_never_saves_more_and_ranks_cost_what_the_next_multiple_does(table, step):
    steps = Steps(step=step, saved={step * rank: saved for rank, saved in table.items()})
    ranks = torch.arange(1, 8 * step + 1)
    saved = steps.at(ranks)
    assert (saved.diff().nan_to_num(nan=0.0) <= 1e-9).all()
    assert torch.equal(saved, saved[step - 1 :: step].repeat_interleave(step))
    assert torch.equal(saved.isfinite(), ranks <= max(steps.saved))


def test_ranks_below_a_step_lie_between_those_that_were_measured():
    steps = Steps(step=8, saved={1: 5.0, 8: 3.0, 16: 1.0})
    found = steps.at(torch.arange(1, 17))
    assert torch.allclose(found[:8], torch.linspace(5.0, 3.0, 8, dtype=torch.float64))
    assert found[8:].tolist() == [1.0] * 8


@settings(deadline=None)
@given(tables, tables, st.sampled_from([2, 4]), st.floats(0.1, 3))
def test_ranks_that_are_not_padded_have_a_table_of_their_own(table, other, step, factor):
    alone = Steps(step=step, saved={step * rank: saved for rank, saved in table.items()})
    both = alone
    for rank, saved in other.items():
        both = both.also(step * rank + step - 1, saved)
    assert (both.saved, len(both.between)) == (alone.saved, len(other))
    ranks = torch.arange(1, 9 * step)
    saved, padded = both.at(ranks), alone.at(ranks)
    same = (ranks <= step) | (ranks % step == 0) | padded.isinf()
    assert torch.equal(saved[same], padded[same])
    apart = saved[~same]
    assert (apart.diff() <= 1e-9).all()
    assert ((min(other.values()) - 1e-9 <= apart) & (apart <= max(other.values()) + 1e-9)).all()
    torch.testing.assert_close(both.scaled(factor).at(ranks), factor * saved)


@settings(deadline=None)
@given(st.lists(st.floats(-5, 5), min_size=1, max_size=6, unique=True), st.sampled_from([1, 4]))
def test_a_table_that_falls_is_kept_as_it_was_measured(saved, step):
    falling = sorted(saved, reverse=True)
    steps = Steps(step=step, saved={step * (i + 1): one for i, one in enumerate(falling)})
    found = steps.at(torch.tensor(list(steps.saved)))
    torch.testing.assert_close(found, torch.tensor(falling).double())


IMAGE = torch.zeros(1, 3, 8, 8)


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 24, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(24, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 36, 10)),
    )


def analysed(scheme):
    wanted = Cut(keep=Speedup(1), scheme=scheme, layers="all")
    analysis = analyse(network(), IMAGE, DECOMPOSITIONS[scheme], wanted)
    return analysis, wanted


def made_up(analysis, saved_at):
    """A table of all ranks; the whole network takes as many milliseconds as multiply-adds."""
    saved = {}
    for layer in analysis.layers:
        for one in layer.candidates:
            ranks = range(1, one.layer.full_ranks[-1] + 1)
            table = {rank: float(saved_at(one.layer, rank)) for rank in ranks}
            saved[one.layer.name, one.layer.scheme.name] = Steps(step=1, saved=table)
    return LayerTimes(total=float(analysis.macs), saved=saved, macs=analysis.macs)


def picked(choices):
    return [(c.candidate and c.candidate.layer.scheme.name, c.ranks) for c in choices]


@pytest.mark.parametrize("scheme", ["channel", "spatial", "per-layer"])
@pytest.mark.parametrize("asked", [1.5, 2.5])
def test_where_time_is_multiply_adds_the_ranks_are_those_of_multiply_adds(scheme, asked):
    analysis, _ = analysed(scheme)
    times = made_up(analysis, lambda layer, rank: layer.dense_macs - layer.macs((rank,)))
    by_macs = choose(analysis, Cut(keep=Speedup(asked), scheme=scheme))
    by_time = choose(analysis, Cut(keep=LatencySpeedup(asked), scheme=scheme), times=times)
    by_limit = Milliseconds(analysis.macs / asked)
    assert picked(by_time) == picked(by_macs)
    assert picked(choose(analysis, Cut(keep=by_limit, scheme=scheme), times=times)) == picked(
        by_macs
    )


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.floats(1.0, 3.0))
def test_a_budget_in_time_is_met_or_refused_with_the_best_and_what_is_slower_stays_dense(
    seed, asked
):
    analysis, _ = analysed("spatial")
    generator = torch.Generator().manual_seed(seed)
    slope = {layer.layer.name: 2 * torch.rand(1, generator=generator) for layer in analysis.layers}

    def saved_at(layer, rank):
        return layer.dense_macs * (1 - slope[layer.name] * (rank / layer.full_ranks[-1] + 0.5))

    times = made_up(analysis, saved_at)
    try:
        found = choose(analysis, Cut(keep=LatencySpeedup(asked), scheme="spatial"), times=times)
    except InputError as error:
        best = float(str(error).split("the best is ")[1].split("x")[0])
        assert 1 <= best < asked
        return
    saved = [
        float(saved_at(choice.candidate.layer, choice.ranks[-1]))
        for choice in found
        if choice.candidate
    ]
    assert all(one > 0 for one in saved)
    assert times.total - sum(saved) <= times.total / asked * (1 + 1e-6)


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 1000), st.sampled_from(["knapsack", "greedy", "energy", "uniform"]))
def test_a_budget_that_only_one_choice_keeps_to_is_met_whatever_sums_round_to(seed, allocation):
    analysis, _ = analysed("spatial")
    generator = torch.Generator().manual_seed(seed)
    worth = {x.layer.name: float(torch.randn(1, generator=generator)) for x in analysis.layers}
    times = made_up(analysis, lambda layer, rank: worth[layer.name] * (1 + 1 / (rank + 0.1)))
    most = sum(max(0.0, *steps.saved.values()) for steps in times.saved.values())
    for asked in (1.0, times.total / (times.total - most)):
        cut = Cut(keep=LatencySpeedup(asked), scheme="spatial", allocation=allocation)
        found = choose(analysis, cut, times=times)
        names = [layer.layer.name for layer in analysis.layers]
        saved = sum(
            times.saved[name, choice.candidate.layer.scheme.name].near(choice.ranks[-1])
            for name, choice in zip(names, found, strict=True)
            if choice.candidate
        )
        assert times.total - saved <= times.total / asked * (1 + 1e-8)


@pytest.mark.parametrize("keep", [LatencySpeedup(2), Milliseconds(3)])
def test_time_without_a_target_is_refused_in_one_line(keep):
    with pytest.raises(
        InputError, match=rf"^{keep.key()}: . needs the times of layers on a target"
    ):
        decompose(network(), IMAGE, keep)


def layer(name: str, scheme: str | None, left: int, rank: int | None = None) -> Layer:
    """One of a hundred multiply-adds, `left` of which are left."""
    return Layer(
        name=name,
        scheme=scheme,
        rank=rank,
        full_rank=rank,
        macs=left,
        dense_macs=100,
        parameters=left,
        dense_parameters=100,
        reason=None if scheme else "by choice",
    )


@pytest.mark.parametrize(
    ("left", "saved"),
    [(100, 0.0), (75, -0.25), (50, -0.5), (30, 0.0), (10, 0.5), (5, 0.5)],
)
def test_layers_that_were_not_timed_one_by_one_save_what_whole_networks_did(left, saved):
    shares = {"cp": [(0.5, -0.5), (0.9, 0.5)]}
    steps = {("a", "channel"): Steps(step=1, saved={4: 2.0})}
    times = LayerTimes(total=20.0, saved=steps, macs=1000, shares=shares)
    pair, dense = layer("a", "channel", 10, rank=4), layer("c", None, 100)
    found = times.milliseconds([pair, layer("b", "cp", left, rank=4), dense])
    assert found == pytest.approx(20 - 2 - saved * 20 * 100 / 1000)


def test_a_network_that_no_time_tells_of_has_none_and_zeros_save_none():
    times = LayerTimes(total=20.0, saved={}, macs=1000)
    assert times.milliseconds([layer("a", "sparse", 10)]) == 20
    for scheme in ("tucker", "pruned", "decoupled", "channel"):
        assert times.milliseconds([layer("a", scheme, 10, rank=1)]) is None


def test_a_scheme_whose_factors_were_not_timed_is_refused_for_that():
    analysis, _ = analysed("decoupled")
    times = LayerTimes(total=1.0, saved={}, macs=analysis.macs)
    with pytest.raises(InputError, match="its factors were not timed"):
        choose(analysis, Cut(keep=LatencySpeedup(2), scheme="decoupled"), times=times)
