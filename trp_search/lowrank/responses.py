"""Low-rank maps from a layer's responses after compression to its original responses.

Columns are positions. Z (d x n) has the responses of a layer's weights to their inputs in the
compressed network, Y (d x n) the responses in the original network. A map of rank r turns the layer
into two; fitted to Y from Z, the map also corrects the errors of the layers before.

Source: Zhang et al., arXiv 1505.06798, section 3.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

# Penalty of the auxiliary responses at each iteration, as in He et al.'s code
# (yihui-he/channel-pruning, ITQ_decompose).
_PENALTIES = (0.1,) * 30 + (1.0,) * 20

# Share of white inputs in the moments. Directions that no input takes stay as in the weight, and
# the fit follows the sample less closely.
_WHITE = 1e-2

# Rounding to single precision leaves 1e-14 of the squares in empty directions.
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
        """(d, n) the fit of the (d, n) responses `given`."""
        return self.left @ (self.right @ given) + self.bias.unsqueeze(1)


@dataclass(frozen=True, kw_only=True)
class Regression:
    """Statistics of Z for fits to any Y; see `regression`.

    Attributes:
        mean: (d,) mean of Z; zero for fits without a constant.
        white: (d, d) matrix mixed into the moments of Y with Z.
        root: (d, d) inverse square root of the moments of Z, zero where there are none.
    """

    mean: Tensor
    white: Tensor
    root: Tensor

    def fit(self, cross: Tensor, mean: Tensor, rank: int) -> Fit:
        """The affine map of `rank` with the least squared error, in closed form.

        The unconstrained map is M = C_yz C_zz^-1. The best map of rank r is U U^T M, with U the
        first eigenvectors of the moments of Y that M explains, C_yz C_zz^-1 C_zy (reduced-rank
        regression; the paper uses a generalised SVD).

        Args:
            cross: (d, d) moments of Y with Z, C_yz.
            mean: (d,) mean of Y; zero without a constant.
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
        mean: (d,) mean of Z, or zero for fits without a constant.
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
        constant: whether b is fitted; zero otherwise.
    """
    mean, centred = _centred(given, constant=constant)
    known = regression(centred @ centred.mT / centred.shape[1], mean, white=white)
    return _fit(known, target, centred, rank, constant=constant)


def fit_relu(
    target: Tensor, given: Tensor, rank: int, *, white: Tensor, constant: bool = True
) -> Fit:
    """The same after a ReLU: min ||relu(Y) - relu(M Z + b)||_F, never worse than `fit_linear`.

    Alternates 50 times between auxiliary responses, penalised for their distance from M Z + b, and
    a linear fit to them; returns the best fit on the way.
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
    """Squared distance after a ReLU, summed over all entries."""
    return (functional.relu(target) - functional.relu(answers)).square().sum()


def _fit(known: Regression, target: Tensor, given: Tensor, rank: int, *, constant: bool) -> Fit:
    """The linear fit of Y to a Z that is centred where there is a constant."""
    mean, centred = _centred(target, constant=constant)
    return known.fit(centred @ given.mT / given.shape[1], mean, rank)


def _centred(responses: Tensor, *, constant: bool) -> tuple[Tensor, Tensor]:
    """(d,) mean, zero without a constant, and the responses about that mean."""
    mean = responses.mean(1) if constant else responses.new_zeros(len(responses))
    return mean, responses - mean.unsqueeze(1)


def _auxiliary(wanted: Tensor, answers: Tensor, penalty: float) -> Tensor:
    """Elementwise z with the least (wanted - relu(z))^2 + penalty * (z - answers)^2.

    `wanted` is not negative. The minima below and above zero are known; the lesser one is taken.
    """
    below = answers.clamp_max(0)
    above = ((wanted + penalty * answers) / (1 + penalty)).clamp_min(0)
    cost_below = wanted.square() + penalty * (below - answers).square()
    cost_above = (wanted - above).square() + penalty * (above - answers).square()
    return torch.where(cost_below < cost_above, below, above)
