import itertools

import pytest
import tensorly
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorly.decomposition import partial_tucker
from torch import nn

from tests.lowrank.drawn import convolutions
from trp_search.lowrank import tucker
from trp_search.lowrank.kernels import Extent
from trp_search.lowrank.rules import ranks
from trp_search.records import Energy, Evbmf, Ratio, Value

tensorly.set_backend("pytorch")

TUCKER = tucker.TuckerFactoring()

shapes = st.tuples(*[st.integers(1, 9)] * 2, *[st.integers(1, 4)] * 2)
seeds = st.integers(0, 10_000)
shares = st.floats(0.0, 1.0)


def kernel_of(shape, seed):
    """A kernel whose channel axes have falling spectra, as trained ones do."""
    generator = torch.Generator().manual_seed(seed)
    n, c, _, _ = shape
    weight = torch.randn(shape, generator=generator, dtype=torch.float64)
    mixed = [torch.randn(size, size, generator=generator).double() for size in (n, c)]
    left, right = (mix * 0.7 ** torch.arange(len(mix)) for mix in mixed)
    return torch.einsum("an,bc,nchw->abhw", left, right, weight)


def ranks_of(shape, share_in, share_out):
    n, c, _, _ = shape
    return {"rank_in": 1 + round(share_in * (c - 1)), "rank_out": 1 + round(share_out * (n - 1))}


def rebuilt(first, core, last):
    return torch.einsum("rcxy,srhw,nsxy->nchw", first, core, last)


def lost_by(weight, parts):
    return float((weight - rebuilt(*parts)).square().sum() / weight.square().sum())


def hosvd(weight, rank_in, rank_out):
    """The weight on the leading left singular vectors of its two unfoldings."""
    n, c, _, _ = weight.shape
    out = torch.linalg.svd(weight.reshape(n, -1), full_matrices=False).U[:, :rank_out]
    into = torch.linalg.svd(weight.movedim(1, 0).reshape(c, -1), full_matrices=False).U[:, :rank_in]
    return torch.einsum("nm,cd,mdhw->nchw", out @ out.mT, into @ into.mT, weight)


@given(shape=shapes, seed=seeds)
@settings(deadline=None, max_examples=40)
def test_at_the_full_ranks_the_kernel_comes_back(shape, seed):
    weight = kernel_of(shape, seed)
    rank_in, rank_out = tucker.full_ranks(shape)
    parts = tucker.factorise(weight, rank_in=rank_in, rank_out=rank_out)
    torch.testing.assert_close(rebuilt(*parts), weight, atol=1e-6 * float(weight.norm()), rtol=0)


@given(shape=shapes, seed=seeds, share_in=shares, share_out=shares)
@settings(deadline=None, max_examples=40)
def test_no_more_is_lost_than_by_each_axis_on_its_own(shape, seed, share_in, share_out):
    weight, ranks = kernel_of(shape, seed), ranks_of(shape, share_in, share_out)
    apart = hosvd(weight, **ranks)
    most = float((weight - apart).square().sum() / weight.square().sum())
    assert lost_by(weight, tucker.factorise(weight, **ranks)) <= most + 1e-12


@given(shape=shapes, seed=seeds, share_in=shares, share_out=shares)
@settings(deadline=None, max_examples=40)
def test_another_sweep_loses_no_more(shape, seed, share_in, share_out):
    weight, ranks = kernel_of(shape, seed), ranks_of(shape, share_in, share_out)
    losses = [lost_by(weight, tucker.factorise(weight, **ranks, sweeps=n)) for n in (0, 1, 2, 5)]
    assert all(after <= before + 1e-12 for before, after in itertools.pairwise(losses))


@given(shape=shapes, seed=seeds, share_in=shares, share_out=shares)
@settings(deadline=None, max_examples=40)
def test_what_is_lost_is_what_the_core_does_not_have(shape, seed, share_in, share_out):
    weight, ranks = kernel_of(shape, seed), ranks_of(shape, share_in, share_out)
    parts = tucker.factorise(weight, **ranks)
    kept = tucker.retained(weight, parts[1])
    assert lost_by(weight, parts) == pytest.approx(1 - kept, abs=1e-12)


@given(shape=shapes, seed=seeds)
@settings(deadline=None, max_examples=30)
def test_every_pairs_loss_is_that_of_its_own_truncation(shape, seed):
    weight = kernel_of(shape, seed)
    lost = tucker.modes(weight).lost
    full_in, full_out = tucker.full_ranks(shape)
    assert lost.shape == (full_in + 1, full_out + 1)
    assert (lost[0] == 1).all()
    assert (lost[:, 0] == 1).all()
    for rank_in, rank_out in ((1, 1), (full_in, 1), (1, full_out), (full_in, full_out)):
        parts = tucker.factorise(weight, rank_in=rank_in, rank_out=rank_out, sweeps=0)
        assert float(lost[rank_in, rank_out]) == pytest.approx(lost_by(weight, parts), abs=1e-9)


@given(shape=shapes, seed=seeds, share_in=shares, share_out=shares)
@settings(deadline=None, max_examples=40)
def test_a_kernel_has_nothing_in_directions_that_are_not_useful(shape, seed, share_in, share_out):
    weight, ranks = kernel_of(shape, seed), ranks_of(shape, share_in, share_out)
    n, c, kh, kw = shape
    most_in = min(ranks["rank_in"], ranks["rank_out"] * kh * kw)
    most_out = min(ranks["rank_out"], ranks["rank_in"] * kh * kw)
    found = rebuilt(*tucker.factorise(weight, **ranks))
    tolerance = 1e-6 * float(weight.norm())
    into, out = found.movedim(1, 0).reshape(c, -1), found.reshape(n, -1)
    assert (torch.linalg.svdvals(into)[most_in:] < tolerance).all()
    assert (torch.linalg.svdvals(out)[most_out:] < tolerance).all()
    useful = TUCKER.useful(shape, torch.tensor([tuple(ranks.values())]))
    assert bool(len(useful)) == ((most_in, most_out) == tuple(ranks.values()))


def test_outer_layers_are_orthonormal_and_the_weight_is_left_as_it_was():
    weight = kernel_of((8, 6, 3, 3), 0).float()
    before = weight.clone()
    first, core, last = tucker.factorise(weight, rank_in=3, rank_out=5)
    assert first.shape == (3, 6, 1, 1)
    assert core.shape == (5, 3, 3, 3)
    assert last.shape == (8, 5, 1, 1)
    assert {part.dtype for part in (first, core, last)} == {torch.float32}
    rows, columns = first.flatten(1), last.flatten(1)
    torch.testing.assert_close(rows @ rows.mT, torch.eye(3), atol=1e-6, rtol=0)
    torch.testing.assert_close(columns.mT @ columns, torch.eye(5), atol=1e-6, rtol=0)
    assert torch.equal(weight, before)


@pytest.mark.parametrize("ranks", [(1, 1), (3, 5), (6, 2), (12, 9)])
@pytest.mark.parametrize("sweeps", [1, 3, 5])
def test_tensorly_loses_as_much_after_as_many_sweeps(ranks, sweeps):
    generator = torch.Generator().manual_seed(sum(ranks))
    weight = torch.randn(16, 12, 3, 3, generator=generator, dtype=torch.float64)
    rank_in, rank_out = ranks
    (core, factors), _ = partial_tucker(
        weight, rank=[rank_out, rank_in], modes=[0, 1], n_iter_max=sweeps, tol=None
    )
    expected = (weight - tensorly.tenalg.multi_mode_dot(core, factors, modes=[0, 1])).norm()
    parts = tucker.factorise(weight, rank_in=rank_in, rank_out=rank_out, sweeps=sweeps)
    torch.testing.assert_close((weight - rebuilt(*parts)).norm(), expected, atol=0, rtol=1e-6)


def test_spectra_are_those_of_the_two_unfoldings():
    weight = kernel_of((10, 4, 2, 1), 1)
    found = tucker.modes(weight)
    into, out = weight.movedim(1, 0).reshape(4, -1), weight.reshape(10, -1)
    for values, matrix in ((found.values_in, into), (found.values_out, out)):
        expected = torch.linalg.svdvals(matrix)
        torch.testing.assert_close(values, expected, atol=1e-6 * float(expected[0]), rtol=0)


@pytest.mark.parametrize("rule", [Energy(0.8), Value(1.0), Ratio(0.5), Evbmf()])
def test_a_rule_is_asked_once_for_each_axis(rule):
    weight = kernel_of((16, 12, 3, 3), 3) + 0.05 * torch.randn(16, 12, 3, 3)
    into, out = weight.movedim(1, 0).reshape(12, -1), weight.reshape(16, -1)
    expected = [
        int(ranks(rule, torch.linalg.svdvals(matrix).unsqueeze(0), longer=matrix.shape[1]))
        for matrix in (into, out)
    ]
    assert list(tucker.modes(weight).ranks(rule)) == expected


def test_evbmf_finds_planted_ranks_on_both_axes():
    generator = torch.Generator().manual_seed(0)

    def basis(size, rank):
        return torch.linalg.qr(torch.randn(size, rank, generator=generator).double()).Q

    core = torch.randn(5, 3, 3, 3, generator=generator).double()
    weight = torch.einsum("ns,cr,srhw->nchw", basis(40, 5), basis(24, 3), core)
    weight = weight + 0.01 * torch.randn(40, 24, 3, 3, generator=generator)
    assert tucker.modes(weight).ranks(Evbmf()) == (3, 5)


def test_a_rule_wants_no_more_of_an_axis_than_the_other_leaves():
    weight = torch.zeros(8, 8, 3, 1)
    weight[:6, 0, 0] = torch.eye(6)[:, :1]
    weight[:, 1] = 1e-3 * torch.randn(8, 3, 1, generator=torch.Generator().manual_seed(0))
    assert tucker.modes(weight).ranks(Value(1e-6)) == (2, 4)
    assert tucker.modes(weight).ranks(Energy(0.9)) == (1, 1)


@pytest.mark.parametrize("shape", [(4, 3, 3, 3), (1, 1, 1, 2), (6, 1, 3, 3), (1, 5, 2, 2)])
def test_a_kernel_of_zeros_loses_nothing(shape):
    weight = torch.zeros(shape)
    found = tucker.modes(weight)
    assert not found.lost.any()
    parts = tucker.factorise(weight, rank_in=1, rank_out=1)
    assert all(part.isfinite().all() for part in parts)
    assert tucker.retained(weight, parts[1]) == 1
    assert all(rank == 1 for rank in found.ranks(Evbmf()))


def test_channels_that_are_all_alike_take_one_direction():
    weight = torch.randn(3, 3, generator=torch.Generator().manual_seed(0)).expand(6, 5, 3, 3)
    parts = tucker.factorise(weight, rank_in=1, rank_out=1)
    torch.testing.assert_close(rebuilt(*parts), weight.contiguous())


@given(options=convolutions(), seed=seeds, share_in=shares, share_out=shares)
@settings(deadline=None, max_examples=50)
def test_the_three_layers_compute_with_the_kernel_that_their_weights_make(
    options, seed, share_in, share_out
):
    torch.manual_seed(seed)
    module = nn.Conv2d(**options).double()
    ranks = ranks_of(module.weight.shape, share_in, share_out)
    parts = nn.Sequential(*TUCKER.layers(module, tuple(ranks.values()))).double()
    assert (parts[2].bias is None) == (module.bias is None)
    images = torch.randn(2, options["in_channels"], 10, 9).double()
    with torch.no_grad():
        if module.bias is not None:
            parts[2].bias.copy_(module.bias)
        module.weight.copy_(rebuilt(*(part.weight for part in parts)))
        torch.testing.assert_close(parts(images), module(images), atol=1e-10, rtol=0)


def test_padding_by_name_is_kept():
    module = nn.Conv2d(4, 6, (3, 5), padding="same")
    parts = nn.Sequential(*TUCKER.layers(module, (2, 3)))
    assert parts(torch.zeros(1, 4, 9, 9)).shape == (1, 6, 9, 9)


def test_multiply_adds_are_those_of_the_three_layers_over_all_calls():
    shape = (32, 16, 3, 5)
    wide = Extent(height_in=20, width_in=10, height_out=10, width_out=5)
    narrow = Extent(height_in=8, width_in=8, height_out=4, width_out=4)
    found = TUCKER.macs(shape, [wide, narrow], (4, 6))
    assert found == 4 * 16 * (200 + 64) + 4 * 6 * 3 * 5 * (50 + 16) + 6 * 32 * (50 + 16)


def test_parameters_are_those_of_the_three_layers():
    module = nn.Conv2d(16, 32, (3, 5), bias=False)
    parts = TUCKER.layers(module, (4, 6))
    stored = sum(part.weight.numel() for part in parts)
    assert TUCKER.parameters((32, 16, 3, 5), (4, 6)) == stored


def test_only_kernels_wider_than_one_pixel_have_a_core():
    assert TUCKER.refuses((8, 8, 1, 1)) == "1x1: nothing between its two channel axes"
    assert TUCKER.refuses((8, 8, 1, 3)) is None
