import cvxpy
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.utils.prune import L1Unstructured

from trp_search.lowrank.convex import (
    TOLERANCE,
    guarantee,
    singular_value_threshold,
    soft_threshold,
    solve,
)

SHRINKS = [soft_threshold, singular_value_threshold]
OBJECTIVES = {
    soft_threshold: lambda weight: float(weight.abs().sum()),
    singular_value_threshold: lambda weight: float(torch.linalg.svdvals(weight).sum()),
}
layers = st.fixed_dictionaries(
    {
        "size": st.tuples(st.integers(2, 6), st.integers(2, 9), st.integers(2, 40)),
        "seed": st.integers(0, 1000),
        "bias": st.sampled_from([None, 0.0, 0.3]),
    }
)
shrinks, flags = st.sampled_from(SHRINKS), st.booleans()
# The same examples each time: an ADMM nears the least, and layers exist that it nears slowly.
solved = settings(deadline=None, max_examples=25, derandomize=True)


def made(size, seed, bias=0.3):
    """Weight, bias and inputs of a layer; inputs are correlated and not negative."""
    m, n, p = size
    generator = torch.Generator().manual_seed(seed)

    def randn(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    inputs = (randn(n, n) @ randn(n, p) / n**0.5 + 0.3).clamp_min(0)
    return randn(m, n) / n**0.5, None if bias is None else bias * randn(m), inputs


def outputs_of(weight, bias, inputs, *, rectified):
    outputs = weight @ inputs + (0 if bias is None else bias.unsqueeze(1))
    return outputs.clamp_min(0) if rectified else outputs


def assert_within(weight, layer, *, error, rectified):
    """That the outputs, through the ReLU, are within the error and what is tolerated of it."""
    before = outputs_of(*layer, rectified=rectified)
    after = outputs_of(weight, *layer[1:], rectified=rectified)
    lost = float(torch.linalg.vector_norm(after - before))
    allowed = error * float(torch.linalg.vector_norm(before))
    assert lost <= allowed * (1 + 2 * TOLERANCE) + 1e-6 * before.numel() ** 0.5


def objective_of(layer, shrink, **options):
    return OBJECTIVES[shrink](solve(guarantee(*layer, **options), shrink).weight)


@pytest.mark.parametrize("error", [0.05, 0.3])
@pytest.mark.parametrize("rectified", [False, True])
@pytest.mark.parametrize("size", [(8, 5, 30), (5, 8, 30), (6, 9, 5)])
@pytest.mark.parametrize("shrink", SHRINKS)
def test_the_objective_is_that_of_an_interior_point_solver(shrink, size, rectified, error):
    weight, bias, inputs = made(size, seed=1)
    before = outputs_of(weight, bias, inputs, rectified=rectified)
    active = before > 1e-6 if rectified else torch.ones_like(before, dtype=torch.bool)
    unknown = cvxpy.Variable(weight.shape)
    made_of = unknown @ inputs.numpy() + bias.unsqueeze(1).numpy()
    limits = [
        cvxpy.norm(
            cvxpy.vec(cvxpy.multiply(active.double().numpy(), made_of - before.numpy()), order="F")
        )
        <= error * float(torch.linalg.vector_norm(before))
    ]
    if rectified:
        limits.append(cvxpy.multiply((~active).double().numpy(), made_of) <= 0)
    simple = cvxpy.sum(cvxpy.abs(unknown)) if shrink is soft_threshold else cvxpy.normNuc(unknown)
    best = cvxpy.Problem(cvxpy.Minimize(simple), limits).solve(solver=cvxpy.CLARABEL)
    found = objective_of((weight, bias, inputs), shrink, error=error, rectified=rectified)
    assert found == pytest.approx(best, rel=0.01)


@given(layer=layers, shrink=shrinks, rectified=flags, error=st.floats(0.01, 1))
@solved
def test_a_solution_keeps_the_outputs_within_the_error(layer, shrink, rectified, error):
    layer = made(**layer)
    found = solve(guarantee(*layer, error=error, rectified=rectified), shrink)
    assert found.excess <= TOLERANCE
    assert_within(found.weight, layer, error=error, rectified=rectified)


@given(layer=layers, shrink=shrinks, rectified=flags, error=st.floats(0.01, 0.5))
@solved
def test_a_larger_error_never_needs_a_larger_weight(layer, shrink, rectified, error):
    layer = made(**layer)
    stricter = objective_of(layer, shrink, error=error, rectified=rectified)
    looser = objective_of(layer, shrink, error=2 * error, rectified=rectified)
    assert looser <= 1.01 * stricter


@given(layer=layers, shrink=shrinks, rectified=flags)
@settings(solved, max_examples=8)
def test_with_hardly_an_error_the_layer_answers_as_before(layer, shrink, rectified):
    layer = made(**layer)
    found = solve(guarantee(*layer, error=1e-4, rectified=rectified), shrink)
    before = outputs_of(*layer, rectified=rectified)
    after = outputs_of(found.weight, *layer[1:], rectified=rectified)
    scale = float(before.abs().max()) + 1e-6
    torch.testing.assert_close(after / scale, before / scale, atol=2e-3, rtol=0)


@pytest.mark.parametrize("rectified", [False, True])
@pytest.mark.parametrize("shrink", SHRINKS)
def test_seeing_every_image_twice_changes_nothing(shrink, rectified):
    weight, bias, inputs = made((5, 8, 30), seed=2)
    once = objective_of((weight, bias, inputs), shrink, error=0.1, rectified=rectified)
    twice = objective_of(
        (weight, bias, inputs.repeat(1, 2)), shrink, error=0.1, rectified=rectified
    )
    assert twice == pytest.approx(once, rel=5e-3)


@pytest.mark.parametrize("rectified", [False, True])
@pytest.mark.parametrize("shrink", SHRINKS)
@pytest.mark.parametrize(
    "change",
    [
        lambda weight, bias, inputs: (weight * 0, bias, inputs),
        lambda weight, bias, inputs: (weight * 0, None, inputs),
        lambda weight, bias, inputs: (weight, bias, inputs * 0),
        lambda weight, bias, inputs: (weight, bias, torch.ones_like(inputs)),
        lambda weight, bias, inputs: (weight, bias, inputs[:1].expand(inputs.shape)),
        lambda weight, bias, inputs: (weight, bias, inputs[:, :1]),
        lambda weight, bias, inputs: (weight, bias - 100, inputs),
        lambda weight, bias, inputs: (weight * 1e4, bias * 1e4, inputs * 1e-4),
    ],
    ids=[
        "zero weight",
        "zero weight, no bias",
        "zero inputs",
        "constant inputs",
        "inputs all alike",
        "one image",
        "never active",
        "far from one",
    ],
)
def test_a_layer_that_is_degenerate_is_still_kept(change, shrink, rectified):
    layer = change(*made((5, 8, 20), seed=3))
    found = solve(guarantee(*layer, error=0.1, rectified=rectified), shrink)
    assert found.excess <= TOLERANCE
    assert_within(found.weight, layer, error=0.1, rectified=rectified)


@pytest.mark.parametrize("shrink", SHRINKS)
def test_outputs_that_a_relu_never_lets_through_leave_only_ceilings(shrink):
    weight, bias, inputs = made((5, 8, 20), seed=3)
    layer = -weight.abs() - 1, bias.abs(), inputs + 1
    wanted = guarantee(*layer, error=0.1, rectified=True)
    assert wanted.radius == 0
    found = solve(wanted, shrink)
    after = outputs_of(found.weight, *layer[1:], rectified=True)
    assert 0 < OBJECTIVES[shrink](found.weight) < OBJECTIVES[shrink](layer[0])
    assert torch.linalg.vector_norm(after) <= TOLERANCE * torch.linalg.vector_norm(wanted.targets)


def test_what_asks_for_nothing_gets_zeros_at_once():
    layer = made((5, 8, 20), seed=4, bias=None)
    found = solve(guarantee(*layer, error=1.0, rectified=True), soft_threshold)
    assert (found.iterations, found.excess) == (0, pytest.approx(0, abs=1e-12))
    assert not found.weight.any()


@pytest.mark.parametrize("shrink", SHRINKS)
def test_the_same_problem_has_the_same_solution_bit_for_bit(shrink):
    layer = made((5, 8, 20), seed=5)
    wanted = guarantee(*layer, error=0.1, rectified=True)
    assert torch.equal(solve(wanted, shrink).weight, solve(wanted, shrink).weight)


def test_a_search_that_is_cut_short_says_by_how_much_it_misses():
    layer = made((5, 8, 30), seed=6)
    wanted = guarantee(*layer, error=0.01, rectified=True)
    short = solve(wanted, soft_threshold, most=3)
    assert short.iterations == 3
    assert short.excess == pytest.approx(wanted.excess(short.weight))
    assert short.excess > TOLERANCE


@given(layer=layers, rectified=flags, error=st.floats(0.01, 1), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=40)
def test_the_nearest_allowed_outputs_are_a_projection(layer, rectified, error, seed):
    weight, bias, inputs = made(**layer)
    wanted = guarantee(weight, bias, inputs, error=error, rectified=rectified)
    assert wanted.excess(weight) < 1e-9
    one, other = (
        3 * torch.randn(wanted.targets.shape, generator=g, dtype=torch.float64)
        for g in [torch.Generator().manual_seed(seed)] * 2
    )
    nearest, others = wanted.nearest(one), wanted.nearest(other)
    torch.testing.assert_close(wanted.nearest(nearest), nearest)
    # Of every allowed point, the nearest sees the outputs at an obtuse angle.
    assert float(((one - nearest) * (others - nearest)).sum()) <= 1e-9


def test_without_a_relu_fewer_columns_stand_for_the_images():
    weight, bias, inputs = made((5, 8, 30), seed=7)
    other = L1Unstructured(amount=10).prune(weight)
    wanted = guarantee(weight, bias, inputs, error=0.01, rectified=False)
    lost = torch.linalg.vector_norm((other - weight) @ inputs)
    radius = 0.01 * torch.linalg.vector_norm(weight @ inputs + bias.unsqueeze(1))
    assert wanted.inputs.shape == (8, 8)
    assert wanted.excess(other) == pytest.approx(float(lost / radius) - 1)


def test_a_soft_threshold_brings_entries_nearer_to_zero_and_no_further():
    given_ = torch.tensor([[3.0, -3.0, 0.5], [-0.5, 0.0, 1.0]])
    expected = torch.tensor([[2.0, -2.0, 0.0], [0.0, 0.0, 0.0]])
    assert torch.equal(soft_threshold(given_, 1.0), expected)


@given(m=st.integers(1, 9), n=st.integers(1, 9), seed=st.integers(0, 99), step=st.floats(0, 4))
@settings(deadline=None, max_examples=40)
def test_a_singular_value_threshold_is_the_soft_threshold_of_singular_values(m, n, seed, step):
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.randn(m, n, generator=generator, dtype=torch.float64)
    u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    expected = u * soft_threshold(s, step) @ vh
    torch.testing.assert_close(singular_value_threshold(matrix, step), expected, atol=1e-7, rtol=0)
