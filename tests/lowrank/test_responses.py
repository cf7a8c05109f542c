from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trp_search.lowrank import responses
from trp_search.lowrank.responses import fit_linear, fit_relu, relu_error

FITS = {"linear": fit_linear, "relu": fit_relu}
fits = pytest.mark.parametrize("fit", FITS.values(), ids=FITS.keys())
sizes = st.tuples(st.integers(2, 8), st.integers(30, 60))


def randn(*size, seed=0):
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def pair_of(size, seed=0):
    """(d, n) Y and Z: Z is Y with some of it lost, some of it mixed, and noise."""
    d, _ = size
    decay = (0.6 ** torch.arange(d)).unsqueeze(1)
    target = randn(d, d, seed=seed) @ (decay * randn(*size, seed=seed + 1)) + 0.3
    mixing = torch.eye(d) + 0.2 * randn(d, d, seed=seed + 2)
    return target, mixing @ target + 0.1 * randn(*size, seed=seed + 3) - 0.2


def nothing(d):
    return torch.zeros(d, d).double()


def squared(target, answers):
    return (target - answers).square().sum()


def ranks_of(d):
    return range(1, d + 1)


@given(size=sizes, seed=st.integers(0, 999), constant=st.booleans())
@settings(deadline=None, max_examples=15)
def test_at_full_rank_the_linear_fit_is_ordinary_regression(size, seed, constant):
    target, known = pair_of(size, seed)
    fit = fit_linear(target, known, size[0], white=nothing(size[0]), constant=constant)
    rows = torch.cat([known, torch.full((1, size[1]), float(constant)).double()])
    expected = torch.linalg.lstsq(rows.mT, target.mT, driver="gelsd").solution.mT @ rows
    torch.testing.assert_close(fit.answers(known), expected, atol=1e-7, rtol=0)


def alternated(target, known, rank, *, steps=200):
    """Least squares for either factor in turn; both centred."""
    left = randn(len(target), rank, seed=5)
    right = left.mT
    for _ in range(steps):
        right = torch.linalg.pinv(left) @ target @ torch.linalg.pinv(known)
        left = target @ torch.linalg.pinv(right @ known)
    return left @ right @ known


@given(size=sizes, seed=st.integers(0, 999))
@settings(deadline=None, max_examples=10)
def test_at_any_rank_alternating_least_squares_finds_nothing_closer(size, seed):
    target, known = (t - t.mean(1, keepdim=True) for t in pair_of(size, seed))
    rank = max(1, size[0] // 2)
    fit = fit_linear(target, known, rank, white=nothing(size[0]))
    found = squared(target, fit.answers(known))
    other = squared(target, alternated(target, known, rank))
    assert found <= other + 1e-9
    assert float(other / found) == pytest.approx(1, abs=0.02)


@given(size=sizes, seed=st.integers(0, 999))
@settings(deadline=None, max_examples=15)
def test_no_projection_of_the_given_responses_is_closer_than_the_linear_fit(size, seed):
    target, known = pair_of(size, seed)
    mean, own = target.mean(1, keepdim=True), known.mean(1, keepdim=True)
    directions = torch.linalg.svd(known - own).U
    for rank in ranks_of(size[0]):
        fit = fit_linear(target, known, rank, white=nothing(size[0]))
        kept = directions[:, :rank]
        projected = mean + kept @ (kept.mT @ (known - own))
        assert squared(target, fit.answers(known)) <= squared(target, projected) + 1e-9


@given(size=sizes, seed=st.integers(0, 999))
@settings(deadline=None, max_examples=15)
def test_more_rank_is_never_further(size, seed):
    target, known = pair_of(size, seed)
    errors = [
        float(
            squared(target, fit_linear(target, known, rank, white=nothing(size[0])).answers(known))
        )
        for rank in ranks_of(size[0])
    ]
    assert all(more <= fewer + 1e-9 for fewer, more in pairwise(errors))


@given(size=sizes, seed=st.integers(0, 999), constant=st.booleans())
@settings(deadline=None, max_examples=10)
def test_after_a_relu_the_relu_fit_is_never_worse_than_the_linear_one(size, seed, constant):
    target, known = pair_of(size, seed)
    rank = max(1, size[0] // 2)
    options = {"white": torch.eye(size[0]).double(), "constant": constant}
    linear, relu = (fit(target, known, rank, **options) for fit in FITS.values())
    assert relu_error(target, relu.answers(known)) <= relu_error(target, linear.answers(known))


def test_what_a_relu_hides_does_not_mislead_the_relu_fit():
    known = randn(6, 300)
    shown = randn(6, 2, seed=1) @ randn(2, 6, seed=2) @ known
    target = torch.where(shown > 0, shown, 5 * shown - 3)
    linear, relu = (fit(target, known, 2, white=nothing(6)) for fit in FITS.values())
    assert relu_error(target, relu.answers(known)) < 0.2 * relu_error(target, linear.answers(known))


@given(
    wanted=st.floats(0, 3), answer=st.floats(-3, 3), penalty=st.sampled_from([0.01, 0.1, 1.0, 9.0])
)
@settings(deadline=None)
def test_an_auxiliary_response_costs_no_more_than_any_other(wanted, answer, penalty):
    wanted, answer = torch.tensor(wanted).double(), torch.tensor(answer).double()
    found = responses._auxiliary(wanted, answer, penalty)
    others = torch.linspace(-4, 4, 2001).double()

    def cost(z):
        return (wanted - z.clamp_min(0)).square() + penalty * (z - answer).square()

    assert cost(found) <= cost(others).min() + 1e-12


@fits
@pytest.mark.parametrize("inputs", [12, 3])
@pytest.mark.parametrize("spread", [1.0, 0.0])
def test_at_the_weights_rank_a_layer_whose_responses_are_right_stays_itself(fit, inputs, spread):
    weight = randn(6, inputs)
    seen = weight @ (spread * randn(inputs, 4, seed=1)) + 0.5  # of few directions, or of none
    found = fit(seen, seen, min(6, inputs), white=weight @ weight.mT)
    torch.testing.assert_close(found.left @ (found.right @ weight), weight, atol=1e-8, rtol=0)
    unseen = weight @ randn(inputs, 9, seed=2) + 0.5
    torch.testing.assert_close(found.answers(unseen), unseen, atol=1e-8, rtol=0)


def test_responses_that_never_vary_leave_the_choice_to_the_weight():
    weight, constant = randn(6, 9), randn(6, 1, seed=1).expand(6, 20)
    found = fit_linear(constant, constant, 2, white=weight @ weight.mT)
    left = torch.linalg.svd(weight).U[:, :2]
    map_ = found.left @ found.right
    torch.testing.assert_close(map_ @ weight, left @ left.mT @ weight, atol=1e-9, rtol=0)


@fits
@pytest.mark.parametrize("white", [0.0, 1.0])
def test_constant_channels_answer_their_constant(fit, white):
    target, known = pair_of((5, 50))
    target[2], known[3] = 0.7, -0.4
    found = fit(target, known, 3, white=white * torch.eye(5).double())
    expected = torch.full((50,), 0.7, dtype=torch.float64)
    torch.testing.assert_close(found.answers(known)[2], expected, atol=0.02 * white + 1e-9, rtol=0)


@fits
def test_given_responses_that_tell_nothing_give_the_mean(fit):
    target, _ = pair_of((5, 50))
    found = fit(target + 9, torch.ones(5, 50).double(), 2, white=nothing(5))
    mean = (target + 9).mean(1, keepdim=True).expand(5, 50)
    torch.testing.assert_close(found.answers(torch.ones(5, 50).double()), mean, atol=1e-9, rtol=0)


@fits
@pytest.mark.parametrize("constant", [True, False])
def test_zeros_give_zeros(fit, constant):
    zeros = torch.zeros(4, 10).double()
    found = fit(zeros, zeros, 2, white=nothing(4), constant=constant)
    assert not found.answers(zeros + 1).any()


@fits
def test_without_a_constant_the_bias_is_zero(fit):
    target, known = pair_of((5, 50))
    assert not fit(target, known, 2, white=nothing(5), constant=False).bias.any()


@fits
@pytest.mark.parametrize("constant", [True, False])
def test_a_fit_follows_the_scale_of_the_responses(fit, constant):
    target, known = pair_of((5, 50))
    options = {"white": torch.eye(5).double(), "constant": constant}
    plain = fit(target, known, 2, **options).answers(known)
    scaled = fit(8 * target, 8 * known, 2, **options).answers(8 * known)
    torch.testing.assert_close(scaled, 8 * plain, atol=1e-9, rtol=0)


@fits
def test_a_fit_follows_the_order_of_channels_and_not_that_of_positions(fit):
    target, known = pair_of((5, 50))
    white = torch.diag(torch.arange(1.0, 6)).double()
    channels, positions = torch.tensor([3, 0, 4, 1, 2]), torch.arange(50).flip(0)
    plain = fit(target, known, 2, white=white).answers(known)
    other = fit(
        target[channels][:, positions],
        known[channels][:, positions],
        2,
        white=white[channels][:, channels],
    )
    torch.testing.assert_close(other.answers(known[channels]), plain[channels], atol=1e-8, rtol=0)


def test_a_linear_fit_follows_a_shift_of_the_target():
    target, known = pair_of((5, 50))
    shift = randn(5, 1)
    plain, shifted = (fit_linear(t, known, 2, white=nothing(5)) for t in (target, target + shift))
    expected = plain.answers(known) + shift
    torch.testing.assert_close(shifted.answers(known), expected, atol=1e-9, rtol=0)


@fits
def test_the_factors_have_the_rank(fit):
    target, known = pair_of((5, 50))
    found = fit(target, known, 2, white=nothing(5))
    assert (found.left.shape, found.right.shape, found.bias.shape) == ((5, 2), (2, 5), (5,))


@fits
def test_a_fit_does_not_change_its_inputs(fit):
    target, known = pair_of((5, 50))
    white = torch.eye(5).double()
    before = [t.clone() for t in (target, known, white)]
    fit(target, known, 2, white=white)
    assert all(torch.equal(*both) for both in zip(before, (target, known, white), strict=True))
