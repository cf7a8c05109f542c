import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.optimize import brentq

from trp_search.lowrank.rules import ranks as ranks_of
from trp_search.records import Energy, Evbmf, GavishDonoho, Ratio, Value

SIZES = [(60, 100), (100, 60), (48, 48), (16, 144)]
EDGES = [[0.0, 0.0, 0.0], [3.0], [3.0, 0.0, 0.0], [3.0, 1e-170, 0.0], [1e-200, 1e-201, 0.0]]


def values_of(count, seed):
    """(3, count) singular values, the largest first, that fall like trained weights' do."""
    generator = torch.Generator().manual_seed(seed)
    falling = 0.8 ** torch.arange(count) * (0.5 + torch.rand(3, count, generator=generator))
    return falling.double().sort(-1, descending=True).values


def planted(size, rank, *, noise, seed, least=2.0, most=6.0):
    """A matrix with `rank` singular values, in units of the largest that the noise alone has."""
    generator = torch.Generator().manual_seed(seed)
    sides = [torch.randn(side, rank, generator=generator).double() for side in size]
    left, right = (torch.linalg.qr(side).Q for side in sides)
    unit = noise * sum(side**0.5 for side in size) or 1.0
    signal = (left * torch.linspace(most, least, rank) * unit) @ right.mT
    return signal + noise * torch.randn(*size, generator=generator)


def evbmf_rank(matrix):
    values = torch.linalg.svdvals(matrix.double()).unsqueeze(0)
    return int(ranks_of(Evbmf(), values, longer=max(matrix.shape)))


@given(count=st.integers(1, 40), seed=st.integers(0, 1000), share=st.floats(0.01, 0.9999))
@settings(deadline=None)
def test_energy_takes_the_least_rank_that_keeps_the_share(count, seed, share):
    values = values_of(count, seed)
    for row, rank in zip(values, ranks_of(Energy(share), values, longer=count), strict=True):
        shares = [float(row[:k].square().sum() / row.square().sum()) for k in range(count + 1)]
        assume(min(abs(found - share) for found in shares) > 1e-9)
        assert int(rank) == next(k for k, found in enumerate(shares) if found >= share)


@given(count=st.integers(1, 40), seed=st.integers(0, 1000), tenths=st.integers(-20, 20))
@settings(deadline=None)
def test_energy_does_not_depend_on_the_scale(count, seed, tenths):
    values = values_of(count, seed)
    ranks = ranks_of(Energy(0.9), values, longer=count)
    assert torch.equal(ranks_of(Energy(0.9), values * 2.0**tenths, longer=count), ranks)


def test_all_the_energy_takes_every_value_that_is_not_zero():
    values = torch.tensor([[3.0, 1e-3, 0.0], [0.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
    assert ranks_of(Energy(1.0), values, longer=5).tolist() == [2, 0, 3]


@given(count=st.integers(1, 40), seed=st.integers(0, 1000), threshold=st.floats(1e-4, 2.0))
@settings(deadline=None)
def test_value_takes_the_values_that_reach_the_threshold(count, seed, threshold):
    values = values_of(count, seed)
    for row, rank in zip(values, ranks_of(Value(threshold), values, longer=count), strict=True):
        assert (row[:rank] >= threshold).all()
        assert (row[rank:] < threshold).all()


def test_a_value_equal_to_the_threshold_is_kept():
    assert ranks_of(Value(0.5), torch.tensor([[2.0, 0.5, 0.25]]), longer=3).tolist() == [2]


@given(count=st.integers(1, 40), ratio=st.floats(0.001, 1.0))
@settings(deadline=None)
def test_ratio_takes_the_rank_nearest_to_the_ratio_whatever_the_values(count, ratio):
    ranks = ranks_of(Ratio(ratio), values_of(count, 0), longer=count)
    assert len(set(ranks.tolist())) == 1
    assert 1 <= int(ranks[0]) <= count
    nearest = min(abs(rank - ratio * count) for rank in range(1, count + 1))
    assert abs(int(ranks[0]) - ratio * count) == pytest.approx(nearest)


def test_ratio_at_ratio_one_takes_the_full_rank():
    assert ranks_of(Ratio(1.0), values_of(7, 0), longer=9).tolist() == [7, 7, 7]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("rank", [1, 3, 6])
@pytest.mark.parametrize("seed", range(3))
def test_evbmf_finds_a_planted_rank_in_noise(size, rank, seed):
    assert evbmf_rank(planted(size, rank, noise=0.5, seed=seed)) == rank


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("most", [10.0, 30.0, 100.0, 1000.0])
def test_evbmf_finds_what_stands_out_of_noise_however_large_the_largest_value(size, most):
    assert evbmf_rank(planted(size, 5, noise=0.01, seed=0, most=most)) == 5


@pytest.mark.parametrize("size", [(64, 576), (128, 1152)])
def test_evbmf_finds_a_planted_rank_in_matrices_as_large_as_kernels(size):
    assert evbmf_rank(planted(size, 3, noise=0.5, seed=0)) == 3


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("seed", range(5))
def test_evbmf_finds_nothing_in_noise(size, seed):
    generator = torch.Generator().manual_seed(seed)
    assert evbmf_rank(torch.randn(*size, generator=generator)) == 0


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("least", [0.5, 0.1, 0.01])
def test_evbmf_finds_the_rank_of_a_matrix_without_noise(size, least):
    assert evbmf_rank(planted(size, 5, noise=0.0, seed=0, least=least, most=1.0)) == 5


@given(seed=st.integers(0, 100), exponent=st.integers(-6, 6), size=st.sampled_from(SIZES))
@settings(deadline=None, max_examples=20)
def test_evbmf_does_not_depend_on_the_scale(seed, exponent, size):
    matrix = planted(size, 4, noise=0.3, seed=seed, least=0.8)
    assert evbmf_rank(matrix * 10.0**exponent) == evbmf_rank(matrix)


def test_evbmf_does_not_depend_on_which_side_is_longer():
    matrix = planted((30, 50), 4, noise=0.3, seed=0)
    assert evbmf_rank(matrix.mT) == evbmf_rank(matrix) == 4


@pytest.mark.parametrize("values", EDGES)
@pytest.mark.parametrize("longer", [1, 3, 20])
def test_evbmf_never_takes_zeros_nor_warns(values, longer):
    ranks = ranks_of(Evbmf(), torch.tensor([values]).double(), longer=longer)
    assert 0 <= int(ranks[0]) <= sum(value > 0 for value in values)


def test_evbmf_takes_each_matrix_of_a_batch_by_itself():
    matrices = [planted((20, 30), rank, noise=0.3, seed=rank) for rank in (1, 2, 3)]
    values = torch.stack([torch.linalg.svdvals(matrix) for matrix in matrices])
    assert ranks_of(Evbmf(), values, longer=30).tolist() == [evbmf_rank(m) for m in matrices]


def omega(beta):
    """Equations 4 and 11 of arXiv 1305.5870, by the median of the Marchenko-Pastur law itself."""
    low, high = (1 - beta**0.5) ** 2, (1 + beta**0.5) ** 2

    def density(t):
        return np.sqrt(max((high - t) * (t - low), 0.0)) / (2 * np.pi * beta * t)

    median = brentq(lambda x: quad(density, low, x, limit=200)[0] - 0.5, low + 1e-9, high)
    root = np.sqrt(beta**2 + 14 * beta + 1)
    return np.sqrt(2 * (beta + 1) + 8 * beta / (beta + 1 + root)) / np.sqrt(median)


@pytest.mark.parametrize("longer", [20, 25, 40, 80, 400])
def test_the_optimal_threshold_is_omega_times_the_median(longer):
    low, high = (omega(20 / longer) + away for away in (-0.01, 0.01))
    values = torch.tensor([[*[high] * 2, low, *[1.0] * 10, *[0.5] * 7]]).double()
    assert float(values.median()) == 1.0
    assert ranks_of(GavishDonoho(), values, longer=longer).tolist() == [2]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("rank", [0, 1, 3, 6])
@pytest.mark.parametrize("noise", [1e-3, 0.5, 30.0])
def test_the_optimal_threshold_finds_a_planted_rank_in_noise(size, rank, noise):
    matrix = planted(size, rank, noise=noise, seed=rank)
    values = torch.linalg.svdvals(matrix).unsqueeze(0)
    assert int(ranks_of(GavishDonoho(), values, longer=max(size))) == rank


def test_the_optimal_threshold_of_a_matrix_without_noise_is_its_rank():
    values = torch.tensor([[3.0, 2.0, 0.0, 0.0, 0.0, 0.0]])
    assert ranks_of(GavishDonoho(), values, longer=9).tolist() == [2]
