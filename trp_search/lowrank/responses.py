"""Low-rank maps from the responses a layer still gives to the ones it should give.

Columns are positions: Z (d x n) is what a layer's weights answer to the inputs that a compressed
network hands them, Y (d x n) what they answered in the original network. A map of rank r turns the
layer into two; being fitted to Y from Z, it also makes up for the errors of the layers before it.

Source: Zhang et al., arXiv 1505.06798, section 3.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

# Penalty of the auxiliary responses, and iterations with it, one after the other: those of
# He et al.'s code (yihui-he/channel-pruning, ITQ_decompose).
_PENALTIES = (0.1,) * 30 + (1.0,) * 20

# Share of white inputs in the moments. Directions that no input takes are kept as the weight has
# them, and no more follows the sample than it can tell.
_WHITE = 1e-2

# Rounding to single precision leaves 1e-14 of the squares where there is nothing.
_NOTHING = 1e-12


@dataclass(frozen=True, kw_only=True)
class Fit:
    """y is about left @ right @ z + bias.

    Attributes:
        left: (d, r)
        right: (r, d)
        bias: (d,)
    """

    left: Tensor
    right: Tensor
    bias: Tensor

    def answers(self, given: Tensor) -> Tensor:
        """(d, n) what is made of the (d, n) responses `given`."""
        return self.left @ (self.right @ given) + self.bias.unsqueeze(1)


@dataclass(frozen=True, kw_only=True)
class Regression:
    """What a fit needs to know of Z, whatever Y is; see `regression`.

    Attributes:
        mean: (d,) of Z; zero where fits have no constant.
        white: (d, d) what is mixed into the moments of Y with Z.
        root: (d, d) inverse square root of the moments of Z, zero where there are none.
    """

    mean: Tensor
    white: Tensor
    root: Tensor

    def fit(self, cross: Tensor, mean: Tensor, rank: int) -> Fit:
        """The affine map of `rank` with the least squared error, in closed form.

        The unconstrained one is M = C_yz C_zz^-1. The best of rank r is U U^T M, U the first
        eigenvectors of what M explains of Y, C_yz C_zz^-1 C_zy (reduced-rank regression; the paper
        goes by way of a generalised SVD).

        Args:
            cross: (d, d) moments of Y with Z, C_yz.
            mean: (d,) of Y; zero where there is no constant.
            rank: r, from 1 to d.
        """
        explained = (cross + self.white) @ self.root
        _, vectors = torch.linalg.eigh(explained @ explained.mT)
        left = vectors[:, -rank:]
        right = left.mT @ explained @ self.root
        return Fit(left=left, right=right, bias=mean - left @ (right @ self.mean))


def regression(moments: Tensor, mean: Tensor, *, white: Tensor) -> Regression:
    """Prepares fits from Z.

    Args:
        moments: (d, d) second moments of Z about `mean`, C_zz.
        mean: (d,) of Z, or zero for fits without a constant.
        white: (d, d) second moments of the responses to white inputs, any scale. A small share is
            mixed into Y and Z alike, which draws M towards the identity.
    """
    own, theirs = moments.trace(), white.trace()
    varied = own > _NOTHING * mean.square().sum()
    scale = torch.where(varied & (theirs > 0), _WHITE * own / theirs, 1.0)
    values, vectors = torch.linalg.eigh(moments + scale * white)
    present = values > _NOTHING * values[-1]
    roots = torch.where(present, values.clamp_min(0).rsqrt(), 0.0)
    return Regression(mean=mean, white=scale * white, root=(vectors * roots) @ vectors.mT)


def fit_linear(
    target: Tensor, given: Tensor, rank: int, *, white: Tensor, constant: bool = True
) -> Fit:
    """The map M z + b of `rank` that comes closest to Y: min ||Y - M Z - b||_F.

    Args:
        target: (d, n) Y, float64.
        given: (d, n) Z, float64.
        rank: of M.
        white: see `regression`.
        constant: whether there is a b; zero otherwise.
    """
    mean, centred = _centred(given, constant=constant)
    known = regression(centred @ centred.mT / centred.shape[1], mean, white=white)
    return _fit(known, target, centred, rank, constant=constant)


def fit_relu(
    target: Tensor, given: Tensor, rank: int, *, white: Tensor, constant: bool = True
) -> Fit:
    """The same after a ReLU: min ||relu(Y) - relu(M Z + b)||_F, never worse than `fit_linear`.

    Alternates between auxiliary responses in place of M Z + b, penalised for being others, and a
    linear fit to them, 50 times; the best fit on the way is returned.
    """
    mean, centred = _centred(given, constant=constant)
    known = regression(centred @ centred.mT / centred.shape[1], mean, white=white)
    best = fit = _fit(known, target, centred, rank, constant=constant)
    wanted, answers = functional.relu(target), fit.answers(given)
    least = relu_error(wanted, answers)
    for penalty in _PENALTIES:
        auxiliary = _auxiliary(wanted, answers, penalty)
        fit = _fit(known, auxiliary, centred, rank, constant=constant)
        answers = fit.answers(given)
        error = relu_error(wanted, answers)
        if error < least:
            best, least = fit, error
    return best


def relu_error(target: Tensor, answers: Tensor) -> Tensor:
    """Squared distance after a ReLU, summed over everything."""
    return (functional.relu(target) - functional.relu(answers)).square().sum()


def _fit(known: Regression, target: Tensor, given: Tensor, rank: int, *, constant: bool) -> Fit:
    """The linear fit of Y to a Z that is centred where there is a constant."""
    mean, centred = _centred(target, constant=constant)
    return known.fit(centred @ given.mT / given.shape[1], mean, rank)


def _centred(responses: Tensor, *, constant: bool) -> tuple[Tensor, Tensor]:
    """(d,) mean, zero without a constant, and the responses about it."""
    mean = responses.mean(1) if constant else responses.new_zeros(len(responses))
    return mean, responses - mean.unsqueeze(1)


def _auxiliary(wanted: Tensor, answers: Tensor, penalty: float) -> Tensor:
    """Elementwise z with the least (wanted - relu(z))^2 + penalty * (z - answers)^2.

    `wanted` is not negative. Below zero and above it the least is known; the lesser one is taken.
    """
    below = answers.clamp_max(0)
    above = ((wanted + penalty * answers) / (1 + penalty)).clamp_min(0)
    cost_below = wanted.square() + penalty * (below - answers).square()
    cost_above = (wanted - above).square() + penalty * (above - answers).square()
    return torch.where(cost_below < cost_above, below, above)
