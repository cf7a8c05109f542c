import dataclasses
import itertools

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from trp_search.lowrank.allocation import (
    BUDGET_RULES,
    Greedy,
    Knapsack,
    Level,
    Options,
    priced,
    relaxed,
)
from trp_search.lowrank.frontiers import frontiers, refined

seeds = st.integers(0, 10_000)
shares = st.floats(0.0, 1.0)
rules = st.sampled_from(list(BUDGET_RULES))
TABLES = dataclasses.fields(Options)
LEVELS = {"alds-style": "worst", "pooled": "beyond", "uniform": "removed"}


def options_of(seed, *, layers=4, schemes=1, ranks=12):
    """Layers with falling random singular values; option 0 is dense, a rank has its price."""
    generator = torch.Generator().manual_seed(seed)

    def between(low, high, *size):
        return low + (high - low) * torch.rand(*size, generator=generator, dtype=torch.float64)

    tables = [torch.zeros(layers, 1 + schemes * ranks).double() for _ in range(5)]
    cost, error, worst, beyond, removed = tables
    cost.fill_(torch.inf)
    for layer in range(layers):
        dense = int(between(200, 4000, 1))
        cost[layer, 0] = dense
        for scheme in range(schemes):
            full = int(between(3, ranks + 1, 1))
            values = between(0.5, 0.95, 1) ** torch.arange(full) * between(0.3, 1, full)
            values = values.sort(descending=True).values
            lost = values.square().flip(0).cumsum(0).flip(0) / values.square().sum()
            price = max(1, int(dense * between(0.05, 0.4, 1)))
            fit = min(full, (dense - 1) // price)
            part = slice(1 + scheme * ranks, 1 + scheme * ranks + fit)
            rank = torch.arange(1, fit + 1).double()
            cost[layer, part] = rank * price
            error[layer, part] = torch.cat([lost, lost.new_zeros(1)])[1 : fit + 1]
            beyond[layer, part] = torch.cat([values, values.new_zeros(1)])[1 : fit + 1]
            worst[layer, part] = beyond[layer, part] / values[0]
            removed[layer, part] = 1 - rank / full
    return Options(cost=cost, error=error, worst=worst, beyond=beyond, removed=removed)


def alike(cost, error):
    """Options by which every level is the error."""
    return Options(cost=cost, error=error, worst=error, beyond=error, removed=error)


def budget_of(options, share):
    """A whole number between the least and the dense cost."""
    least, dense = float(options.spent(options.least)), float(options.cost[:, 0].sum())
    return float(round(least + share * (dense - least)))


def pick(table, chosen):
    return table[torch.arange(len(table)), chosen]


def feasible(options, budget):
    """Every choice that fits the budget, one by one."""
    rows = [cost.isfinite().nonzero().flatten().tolist() for cost in options.cost]
    choices = torch.tensor(list(itertools.product(*rows)))
    costs = sum(options.cost[layer, choices[:, layer]] for layer in range(len(rows)))
    return choices[costs <= budget]


def most_retained(options, budget):
    choices = feasible(options, budget)
    return sum((1 - row)[choices[:, layer]] for layer, row in enumerate(options.error)).max()


def permuted(options, order):
    return Options(**{table.name: getattr(options, table.name)[order] for table in TABLES})


@given(seed=seeds, share=shares, name=rules, schemes=st.integers(1, 2))
@settings(deadline=None, max_examples=150)
def test_what_a_rule_chooses_fits_the_budget(seed, share, name, schemes):
    options = options_of(seed, schemes=schemes)
    budget = budget_of(options, share)
    chosen = BUDGET_RULES[name].choose(options, budget)
    assert chosen.shape == (4,)
    assert options.spent(chosen) <= budget


@given(seed=seeds, share=shares, name=rules, schemes=st.integers(1, 2))
@settings(deadline=None, max_examples=100)
def test_what_a_rule_leaves_would_better_no_layer(seed, share, name, schemes):
    options = options_of(seed, schemes=schemes)
    budget = budget_of(options, share)
    chosen = BUDGET_RULES[name].choose(options, budget)
    left = budget - options.spent(chosen)
    now = pick(options.cost, chosen).unsqueeze(1)
    better = options.error < pick(options.error, chosen).unsqueeze(1) - 1e-9
    if name in LEVELS:  # another scheme may be better beyond the level
        levels = getattr(options, LEVELS[name])
        better &= levels <= pick(levels, chosen).max()
    assert not (better & (options.cost <= now + left)).any()


@given(seed=seeds, name=rules, schemes=st.integers(1, 2))
@settings(deadline=None)
def test_at_the_dense_cost_nothing_is_lost(seed, name, schemes):
    options = options_of(seed, schemes=schemes)
    chosen = BUDGET_RULES[name].choose(options, budget_of(options, 1.0))
    assert not pick(options.error, chosen).any()


@given(seed=seeds, name=rules)
@settings(deadline=None)
def test_at_the_least_cost_every_layer_is_at_its_cheapest(seed, name):
    options = options_of(seed)
    chosen = BUDGET_RULES[name].choose(options, budget_of(options, 0.0))
    assert torch.equal(chosen, options.least)


@given(seed=seeds, share=shares, schemes=st.integers(1, 2))
@settings(deadline=None, max_examples=150)
def test_the_knapsack_keeps_within_one_hundredth_of_the_most_energy(seed, share, schemes):
    options = options_of(seed, layers=3, schemes=schemes, ranks=8)
    budget = budget_of(options, share)
    chosen = Knapsack().choose(options, budget)
    retained = (1 - pick(options.error, chosen)).sum()
    assert retained >= 0.99 * most_retained(options, budget)


@pytest.mark.parametrize("seed", range(3))
def test_over_many_layers_the_knapsack_loses_a_thousandth_more_than_any_choice_must(seed):
    options = options_of(seed, layers=120, ranks=300)
    budget = budget_of(options, 0.4)
    chosen = Knapsack().choose(options, budget)
    lost = pick(options.error, chosen).sum()
    bounds = [
        (options.error + price * options.cost).min(1).values.sum() - price * budget
        for price in torch.logspace(-8, 0, 2000, dtype=torch.float64)
    ]
    assert lost <= 1.001 * max(bounds)


@given(seed=seeds, share=shares, schemes=st.integers(1, 2), name=rules)
@settings(deadline=None)
def test_no_rule_keeps_more_energy_than_the_best_choice(seed, share, schemes, name):
    options = options_of(seed, layers=3, schemes=schemes, ranks=8)
    budget = budget_of(options, share)
    chosen = BUDGET_RULES[name].choose(options, budget)
    assert (1 - pick(options.error, chosen)).sum() <= most_retained(options, budget) + 1e-12


def test_the_knapsack_exchanges_where_no_price_leads_to_the_best():
    cost = torch.tensor([[10.0, 5.0, 1.0], [10.0, 6.0, 1.0]]).double()
    error = torch.tensor([[0.0, 0.55, 0.9], [0.0, 0.45, 0.91]]).double()
    options = alike(cost, error)
    assert priced(cost, error, 16.0).tolist() == [2, 0]
    assert Knapsack().choose(options, 16.0).tolist() == [0, 1]


@given(seed=seeds, share=shares, of=st.sampled_from(["worst", "beyond", "error", "removed"]))
@settings(deadline=None, max_examples=150)
def test_a_level_is_the_least_that_fits(seed, share, of):
    options = options_of(seed)
    budget = budget_of(options, share)
    levels = getattr(options, of)

    def fits(level):
        cheapest = options.cost.where(levels <= level, torch.inf).amin(1)
        return cheapest.sum() <= budget

    least = min(level for level in levels[options.cost.isfinite()].tolist() if fits(level))
    chosen = Level(of).choose(options, budget)
    assert pick(levels, chosen).max() == least


@pytest.mark.parametrize("of", ["worst", "beyond", "error", "removed"])
@given(seed=seeds, share=shares)
@settings(deadline=None, max_examples=60)
def test_a_level_is_the_least_that_fits_with_two_schemes_too(seed, share, of):
    options = options_of(seed, layers=3, schemes=2, ranks=6)
    budget = budget_of(options, share)
    levels = getattr(options, of)
    choices = feasible(options, budget)
    least = torch.stack([row[choices[:, i]] for i, row in enumerate(levels)]).amax(0).min()
    assert pick(levels, Level(of).choose(options, budget)).max() == least


@given(seed=seeds, most=st.integers(4, 20))
@settings(deadline=None)
def test_where_ranks_cost_alike_the_pooled_rule_keeps_the_largest_values_of_all(seed, most):
    generator = torch.Generator().manual_seed(seed)
    scale = torch.rand(4, 1, generator=generator).double()
    values = (scale * torch.rand(4, 5, generator=generator)).sort(descending=True).values
    largest = values >= values.flatten().sort(descending=True).values[most - 1]
    ranks = largest.sum(1).clamp_min(1)  # no layer goes without
    beyond = torch.cat([torch.zeros(4, 1), values[:, 1:], torch.zeros(4, 1)], 1)
    cost = torch.tensor([6.0, 1, 2, 3, 4, 5]).double().expand(4, -1)
    zero = torch.zeros_like(beyond)
    options = Options(cost=cost, error=beyond, worst=zero, beyond=beyond, removed=zero)
    assert BUDGET_RULES["pooled"].choose(options, float(ranks.sum())).equal(ranks)


@pytest.mark.parametrize(
    ("budget", "expected"), [(20.0, [0, 0]), (18.0, [0, 1]), (16.0, [0, 2]), (14.0, [0, 3])]
)
def test_greedy_drops_first_what_costs_least_energy_per_cost_saved(budget, expected):
    # A step of either layer saves 2; it costs the first half its energy, the second a tenth.
    steps = torch.arange(4).double()
    error = 1 - torch.stack([0.5**steps, 0.9**steps])
    cost = (10 - 2 * steps).expand(2, 4)
    options = alike(cost, error)
    assert Greedy().choose(options, budget).tolist() == expected


def test_greedy_weighs_energy_against_the_cost_it_saves():
    # log(0.7) / 6 is nearer to zero than log(0.9) / 1, although 0.7 is less.
    cost = torch.tensor([[10.0, 4.0], [10.0, 9.0]]).double()
    error = torch.tensor([[0.0, 0.3], [0.0, 0.1]]).double()
    options = alike(cost, error)
    assert Greedy().choose(options, 18.0).tolist() == [1, 0]


@given(seed=seeds, share=shares, schemes=st.integers(1, 2))
@settings(deadline=None, max_examples=100)
def test_what_is_priced_is_optimal_at_some_price(seed, share, schemes):
    options = options_of(seed, schemes=schemes)
    chosen = priced(options.cost, options.error, budget_of(options, share))
    dearer = options.cost - pick(options.cost, chosen).unsqueeze(1)
    gained = pick(options.error, chosen).unsqueeze(1) - options.error
    finite = options.cost.isfinite()
    above = gained[finite & (dearer > 0)] / dearer[finite & (dearer > 0)]
    below = gained[finite & (dearer < 0)] / dearer[finite & (dearer < 0)]
    lowest, highest = max([0.0, *above.tolist()]), min([torch.inf, *below.tolist()])
    assert lowest <= highest + 1e-9


@given(seed=seeds, share=shares, schemes=st.integers(1, 2))
@settings(deadline=None)
def test_what_is_priced_is_the_best_for_what_it_spends(seed, share, schemes):
    options = options_of(seed, layers=3, schemes=schemes, ranks=6)
    budget = budget_of(options, share)
    chosen = priced(options.cost, options.error, budget)
    spent = float(options.spent(chosen))
    assert spent <= budget
    retained = (1 - pick(options.error, chosen)).sum()
    torch.testing.assert_close(retained, most_retained(options, spent), atol=1e-6, rtol=0)


@given(seed=seeds, share=shares, schemes=st.integers(1, 2))
@settings(deadline=None)
def test_the_relaxation_fits_and_loses_no_more_than_one_price_does(seed, share, schemes):
    options = options_of(seed, schemes=schemes)
    budget = budget_of(options, share)
    chosen = relaxed(options.cost, options.error, budget)
    assert options.spent(chosen) <= budget
    one = priced(options.cost, options.error, budget)
    assert pick(options.error, chosen).sum() <= pick(options.error, one).sum() + 1e-12


def wide_options(ranks=400, *, flat=0):
    """Two layers of many ranks, between whose last and dense lies a jump; `flat` lose next to none.

    No price but those at its ends leads anywhere on the way from a low rank to dense.
    """
    rank = torch.arange(1, ranks + 1).double()
    lost = (1 - rank / (ranks + 100)) ** 2
    lost[ranks - flat :] = 1e-11 * (1 - rank[ranks - flat :] / (ranks + 100))
    cost = torch.cat([torch.tensor([2.05 * ranks]).double(), 2 * rank]).expand(2, -1)
    error = torch.cat([torch.zeros(1).double(), lost])
    error = torch.stack([error, 0.7 * error])
    return alike(cost, error)


@pytest.mark.parametrize("flat", [0, 300])
@pytest.mark.parametrize("speedup", [1.1, 1.25, 1.5, 2.0, 4.0])
def test_wide_layers_meet_a_budget_at_the_least_loss(speedup, flat):
    options = wide_options(flat=flat)
    budget = float(options.cost[:, 0].sum()) / speedup
    for name, rule in BUDGET_RULES.items():
        chosen = rule.choose(options, budget)
        assert budget / 1.02 <= options.spent(chosen) <= budget, name
        lost = pick(options.error, chosen).sum()
        assert pick(options.error, Knapsack().choose(options, budget)).sum() <= lost + 1e-12
    spent = options.spent(relaxed(options.cost, options.error, budget))
    assert budget / 1.02 <= spent <= budget


def test_the_refinement_goes_as_far_as_it_gains():
    rank = torch.arange(1, 101).double()
    (row,) = frontiers(rank.unsqueeze(0), (1 / rank).unsqueeze(0))
    assert refined([row], [4], 70.0) == [69]


@given(seed=seeds, share=shares, name=rules, order=st.permutations(range(4)))
@settings(deadline=None, max_examples=100)
def test_the_order_of_layers_does_not_matter(seed, share, name, order):
    options = options_of(seed, schemes=2)
    assume(options.cost[:, 0].unique().numel() == 4)
    budget = budget_of(options, share)
    chosen = BUDGET_RULES[name].choose(options, budget)
    again = BUDGET_RULES[name].choose(permuted(options, list(order)), budget)
    assert torch.equal(again, chosen[list(order)])


@pytest.mark.parametrize("name", list(BUDGET_RULES))
def test_a_layer_with_no_option_but_dense_stays_so(name):
    options = options_of(3)
    options.cost[1, 1:] = torch.inf
    assert BUDGET_RULES[name].choose(options, budget_of(options, 0.3))[1] == 0


@pytest.mark.parametrize("name", list(BUDGET_RULES))
def test_a_rule_does_not_change_its_tables(name):
    options, before = options_of(5, schemes=2), options_of(5, schemes=2)
    BUDGET_RULES[name].choose(options, budget_of(options, 0.4))
    for table in TABLES:
        assert torch.equal(getattr(options, table.name), getattr(before, table.name))
