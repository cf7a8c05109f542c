import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trp_search.lowrank import rules
from trp_search.lowrank.truncation import Moments, spectra, weighted_spectra, wide
from trp_search.records import Energy

sizes = st.tuples(st.integers(1, 4), st.integers(1, 24), st.integers(1, 40))


def matrices_of(size, seed, decay=0.8):
    """Random (b, m, n), m <= n, with a spectrum that falls like trained weights' do."""
    b, m, n = size
    generator = torch.Generator().manual_seed(seed)
    left = torch.linalg.qr(torch.randn(b, min(m, n), min(m, n), generator=generator)).Q
    right = torch.linalg.qr(torch.randn(b, max(m, n), max(m, n), generator=generator)).Q
    values = decay ** torch.arange(min(m, n)) * (
        0.5 + torch.rand(b, min(m, n), generator=generator)
    )
    return left @ (values.unsqueeze(-1) * right[:, : min(m, n)])


def kept_of(found, energy):
    ranks = rules.ranks(Energy(energy), found.values(), longer=found.matrices.shape[-1])
    return found.last(ranks)


def rank_by_svd(matrix, energy):
    values = torch.linalg.svdvals(matrix.double())
    shares = values.square().cumsum(0) / values.square().sum()
    nearest = (shares - energy).abs().min().item()
    return int((shares < energy).sum()) + 1, nearest


@given(size=sizes, seed=st.integers(0, 1000), energy=st.floats(0.3, 0.9999))
@settings(deadline=None, max_examples=60)
def test_ranks_are_those_of_a_float64_svd_unless_within_1e_5_of_the_threshold(size, seed, energy):
    matrices = matrices_of(size, seed)
    kept = kept_of(spectra(matrices), energy).sum(-1)
    for matrix, rank in zip(matrices, kept.tolist(), strict=True):
        expected, nearest = rank_by_svd(matrix, energy)
        assert rank == expected or nearest < 1e-5


@given(size=sizes, seed=st.integers(0, 1000), energy=st.floats(0.3, 0.9999))
@settings(deadline=None, max_examples=30)
def test_the_error_of_a_truncation_is_the_discarded_spectrum(size, seed, energy):
    matrices = matrices_of(size, seed)
    found = spectra(matrices)
    kept = kept_of(found, energy)
    error = (matrices - found.truncated(kept)).square().sum((-1, -2))
    discarded = (found.squares * ~kept).sum(-1)
    total = matrices.square().sum((-1, -2))
    torch.testing.assert_close(error / total, discarded / total, atol=2e-6, rtol=0)


def test_a_truncation_equals_the_svd_with_its_small_values_set_to_zero():
    matrices = matrices_of((3, 12, 20), seed=1)
    found = spectra(matrices)
    kept = kept_of(found, 0.95)
    for matrix, low, rank in zip(matrices, found.truncated(kept), kept.sum(-1), strict=True):
        u, s, vh = torch.linalg.svd(matrix.double(), full_matrices=False)
        expected = (u[:, :rank] * s[:rank]) @ vh[:rank]
        torch.testing.assert_close(low.double(), expected, atol=1e-5, rtol=0)


def test_the_polar_factor_is_u_v_of_the_kept_values():
    matrices = matrices_of((3, 12, 20), seed=2)
    found = spectra(matrices)
    kept = kept_of(found, 0.95)
    for matrix, polar, rank in zip(matrices, found.polar(kept), kept.sum(-1), strict=True):
        u, _, vh = torch.linalg.svd(matrix.double(), full_matrices=False)
        torch.testing.assert_close(polar.double(), u[:, :rank] @ vh[:rank], atol=1e-4, rtol=0)


@pytest.mark.parametrize("of_outputs", [False, True])
def test_the_polar_factor_is_that_of_the_truncation_where_errors_are_weighed(of_outputs):
    matrices = matrices_of((3, 12, 20), seed=2)
    (inputs,) = matrices_of((1, 20, 20), seed=3)
    moments = inputs @ inputs.mT * torch.linspace(0.1, 9.0, 20).outer(torch.linspace(0.1, 9.0, 20))
    second = matrices @ moments @ matrices.mT if of_outputs else moments
    found = weighted_spectra(matrices, Moments(matrix=second, of_outputs=of_outputs))
    kept = kept_of(found, 0.8)
    low, plain = found.truncated(kept), spectra(matrices).polar(kept)
    for matrix, polar, other, rank in zip(low, found.polar(kept), plain, kept.sum(-1), strict=True):
        u, _, vh = torch.linalg.svd(matrix.double(), full_matrices=False)
        torch.testing.assert_close(polar.double(), u[:, :rank] @ vh[:rank], atol=1e-4, rtol=0)
        assert not torch.allclose(polar, other, atol=1e-2)


def test_the_polar_factor_leaves_numerically_zero_values_out():
    low_rank = matrices_of((2, 10, 16), seed=3)
    u, s, vh = torch.linalg.svd(low_rank, full_matrices=False)
    low_rank = (u[:, :, :4] * s[:, None, :4]) @ vh[:, :4]
    found = spectra(low_rank)
    polar = found.polar(torch.ones_like(found.squares, dtype=torch.bool))
    singular = torch.linalg.svdvals(polar)
    torch.testing.assert_close(singular[:, :4], torch.ones(2, 4), atol=1e-3, rtol=0)
    assert singular[:, 4:].max() < 1e-3


def test_a_matrix_of_zeros_stays_zero_and_pulls_nowhere():
    found = spectra(torch.zeros(1, 3, 5))
    kept = kept_of(found, 0.9)
    assert not found.truncated(kept).any()
    assert not found.polar(torch.ones_like(kept)).any()


def test_wide_transposes_only_tall_matrices():
    tall, flat = torch.randn(2, 5, 3), torch.randn(2, 3, 5)
    assert wide(flat) == (flat, False) or wide(flat)[0] is flat
    turned, transposed = wide(tall)
    assert transposed
    assert torch.equal(turned, tall.mT)


@pytest.mark.parametrize("energy", [0.5, 0.99, 1.0])
def test_a_truncation_does_not_change_its_input(energy):
    matrices = matrices_of((2, 6, 9), seed=4)
    before = matrices.clone()
    found = spectra(matrices)
    found.truncated(kept_of(found, energy))
    found.polar(kept_of(found, energy))
    assert torch.equal(matrices, before)
