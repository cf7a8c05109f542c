import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trp_search.lowrank.gradient import pulled_back
from trp_search.lowrank.truncation import spectra

SHAPES = [(1, 1, 3), (2, 3, 4), (1, 5, 5), (3, 4, 9)]
sizes = st.tuples(st.integers(1, 3), st.integers(1, 8), st.integers(0, 8))


class Truncated(torch.autograd.Function):
    """The truncated SVD of (b, m, n) matrices at their (b,) ranks."""

    @staticmethod
    def forward(ctx, matrices, ranks):
        ctx.found = spectra(matrices)
        ctx.kept = ctx.found.last(ranks)
        return ctx.found.truncated(ctx.kept)

    @staticmethod
    def backward(ctx, gradient):
        return pulled_back(ctx.found, ctx.kept, gradient), None


def matrices_of(shape, seed=0, *, values=None, dtype=torch.float64):
    """(b, m, n), m <= n, with the singular values given, or 0.8 ** i of its largest."""
    b, m, n = shape
    generator = torch.Generator().manual_seed(seed)
    left = torch.linalg.qr(torch.randn(b, m, m, generator=generator, dtype=torch.float64)).Q
    right = torch.linalg.qr(torch.randn(b, n, n, generator=generator, dtype=torch.float64)).Q
    values = 3 * 0.8 ** torch.arange(m) if values is None else torch.tensor(values)
    return (left @ (values.double().unsqueeze(-1) * right[:, :m])).to(dtype)


def gradient_of(shape, seed=1, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


def back(matrices, rank, gradient):
    found = spectra(matrices)
    return pulled_back(found, found.last(torch.full(matrices.shape[:1], rank)), gradient)


@pytest.mark.parametrize("shape", SHAPES)
def test_it_is_the_slope_that_finite_differences_show(shape):
    matrices = matrices_of(shape).requires_grad_()
    for least in range(shape[1] + 1):
        ranks = (least + torch.arange(shape[0])).clamp_max(shape[1])  # not one for all
        assert torch.autograd.gradcheck(Truncated.apply, (matrices, ranks))


@pytest.mark.parametrize("shape", SHAPES)
def test_it_is_what_autograd_finds_through_an_svd(shape):
    for rank in range(1, shape[1] + 1):
        matrices = matrices_of(shape).requires_grad_()
        u, s, vh = torch.linalg.svd(matrices, full_matrices=False)
        low = (u[..., :rank] * s[:, None, :rank]) @ vh[:, :rank]
        low.backward(gradient_of(shape))
        found = back(matrices.detach(), rank, gradient_of(shape))
        torch.testing.assert_close(found, matrices.grad, atol=1e-9, rtol=1e-9)


@given(size=sizes, seed=st.integers(0, 1000), rank=st.integers(0, 8), tied=st.booleans())
@settings(deadline=None, max_examples=60)
def test_a_larger_matrix_has_as_much_larger_a_truncation(size, seed, rank, tied):
    # Euler: truncating is homogeneous of degree 1. Holds at ties too, whatever is clipped.
    b, m, more = size
    shape = (b, m, m + more)
    matrices = matrices_of(shape, seed, values=[1.0] * m if tied else None)
    gradient = gradient_of(shape, seed + 1)
    found = spectra(matrices)
    kept = found.last(torch.full((b,), rank))
    along = (pulled_back(found, kept, gradient) * matrices).sum()
    torch.testing.assert_close(along, (gradient * found.truncated(kept)).sum(), atol=1e-9, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_at_full_rank_it_is_the_gradient_itself(dtype):
    shape = (2, 6, 9)
    gradient = gradient_of(shape, dtype=dtype)
    found = back(matrices_of(shape, dtype=dtype), 6, gradient)
    torch.testing.assert_close(found, gradient, atol=1e-5, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("rank", range(5))
@pytest.mark.parametrize(
    "values",
    [[1.0, 1, 1, 1], [2.0, 1, 1, 0.5], [1.0, 1 - 1e-7, 1e-9, 1e-9], [1.0, 0, 0, 0], [0.0] * 4],
    ids=str,
)
def test_it_is_finite_and_bounded_at_ties_and_at_zeros(values, rank, dtype):
    shape = (2, 4, 7)
    gradient = gradient_of(shape, dtype=dtype)
    found = back(matrices_of(shape, values=values, dtype=dtype), rank, gradient)
    assert found.isfinite().all()
    assert found.norm() <= 500 * gradient.norm()


@pytest.mark.parametrize("rank", [1, 4, 8, 16])
def test_single_precision_is_enough(rank):
    shape = (2, 16, 40)
    exact = back(matrices_of(shape), rank, gradient_of(shape))
    single = back(
        matrices_of(shape, dtype=torch.float32), rank, gradient_of(shape, dtype=torch.float32)
    )
    torch.testing.assert_close(single.double(), exact, atol=1e-3, rtol=1e-3)


def test_near_a_tie_it_falls_short_of_the_slope_which_grows_without_bound():
    close = [1.0, 1 - 1e-4, 0.1, 0.01]
    shape = (1, 4, 6)
    matrices = matrices_of(shape, values=close).requires_grad_()
    Truncated.apply(matrices, torch.ones(1)).backward(gradient_of(shape))
    free = matrices.detach().requires_grad_()
    u, s, vh = torch.linalg.svd(free, full_matrices=False)
    ((u[..., :1] * s[:, None, :1]) @ vh[:, :1]).backward(gradient_of(shape))
    assert free.grad.norm() > 20 * matrices.grad.norm()


def test_it_does_not_change_what_it_reads():
    shape = (2, 4, 6)
    matrices, gradient = matrices_of(shape), gradient_of(shape)
    back(matrices, 2, gradient)
    assert torch.equal(matrices, matrices_of(shape))
    assert torch.equal(gradient, gradient_of(shape))
