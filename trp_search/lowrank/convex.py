"""Simplest weights of one linear layer that keep its outputs on known inputs: two convex problems.

    min g(W)  such that  ||(W X - T)_active||_F <= radius  and  (W X)_elsewhere <= T_elsewhere

g is the sum of absolute entries (Net-Trim: Aghasi et al., arXiv 1806.06457) or the nuclear norm
(DDLR-style: a stand-in, since the equations of Papadimitriou and Jain, arXiv 2107.05787, could not
be read; the paper's own relaxation may differ). One ADMM solves both; only the proximal step of g
differs. Everything is float64 and deterministic.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from trp_search.lowrank.truncation import spectra, wide

Shrink = Callable[[Tensor, float], Tensor]

# Share of the radius by which a solution's outputs may lie outside the allowed set.
TOLERANCE = 1e-3

_ACTIVE = 1e-6  # Net-Trim's: a ReLU output above this counts as active
_SPREAD = 0.3  # Net-Trim's: inputs are divided by this times the root of their largest moment
_RELAXED = 1.6  # over-relaxation: Boyd et al., Foundations and Trends in ML 3(1), 2011, 3.4.3
_CHECKED = 10  # iterations between checks of the residuals
_TINY = 1e-300


@dataclass(frozen=True, kw_only=True)
class Guarantee:
    """The allowed outputs of a layer on known inputs; biases stay and are subtracted beforehand.

    Attributes:
        inputs: X, (n, p) float64.
        targets: T, (m, p): the outputs to keep; upper bounds where not active.
        radius: allowed distance of all active outputs from their targets (Frobenius norm).
        active: (m, p) mask, or None if all outputs are active.
    """

    inputs: Tensor
    targets: Tensor
    radius: float
    active: Tensor | None

    def nearest(self, outputs: Tensor) -> Tensor:
        """The (m, p) allowed outputs nearest to `outputs`."""
        away = outputs - self.targets
        if self.active is None:
            return self.targets + _within(away, self.radius)
        ball = _within(away * self.active, self.radius)
        return self.targets + torch.where(self.active, ball, away.clamp_max(0))

    def excess(self, weight: Tensor) -> float:
        """Distance of an (m, n) weight's outputs from the allowed ones, over the radius.

        With a radius of zero the unit is the targets' norm. 0 means that the outputs are allowed.
        """
        outputs = weight @ self.inputs
        distance = float(torch.linalg.vector_norm(outputs - self.nearest(outputs)))
        unit = self.radius or float(torch.linalg.vector_norm(self.targets))
        return distance / unit if distance else 0.0

    def scaled(self, factor: float) -> Guarantee:
        """The same constraint on weights, with inputs and outputs times `factor`."""
        return replace(
            self,
            inputs=self.inputs * factor,
            targets=self.targets * factor,
            radius=self.radius * factor,
        )


def _within(away: Tensor, radius: float) -> Tensor:
    return away * (radius / max(float(torch.linalg.vector_norm(away)), radius, _TINY))


def guarantee(
    weight: Tensor, bias: Tensor | None, inputs: Tensor, *, error: float, rectified: bool
) -> Guarantee:
    """The guarantee that keeps a layer's outputs to within `error` of their norm.

    Args:
        weight: (m, n), as in `nn.Linear`.
        bias: (m,), not changed.
        inputs: (n, p), one column for each image or position.
        error: share of the Frobenius norm of the outputs, biases and ReLU included.
        rectified: whether a ReLU follows; outputs that the ReLU zeroes need only stay below zero.
    """
    weight, inputs = weight.double(), inputs.double()
    offset = torch.zeros_like(weight[:, :1]) if bias is None else bias.double().unsqueeze(1)
    outputs = weight @ inputs + offset
    if rectified:
        outputs = outputs.clamp_min(0)
    elif inputs.shape[1] > inputs.shape[0]:
        # Without upper bounds only second moments of the inputs matter; n columns suffice for them.
        inputs = torch.linalg.qr(inputs.mT).R.mT
    return Guarantee(
        inputs=inputs,
        targets=outputs - offset if rectified else weight @ inputs,
        radius=error * float(torch.linalg.vector_norm(outputs)),
        active=outputs > _ACTIVE if rectified else None,
    )


def soft_threshold(weight: Tensor, step: float) -> Tensor:
    """The proximal step of the sum of absolute entries: each entry moves `step` towards zero."""
    return weight.sign() * (weight.abs() - step).clamp_min(0)


def singular_value_threshold(weight: Tensor, step: float) -> Tensor:
    """The proximal step of the nuclear norm: singular values move `step` towards zero.

    Cai, Candes and Shen, arXiv 0810.3286, through the Gram matrix of the smaller side.
    """
    turned, transposed = wide(weight.unsqueeze(0))
    found = spectra(turned)
    share = (1 - step / found.squares.sqrt().clamp_min(_TINY)).clamp_min(0)
    shrunk = (found.vectors * share.unsqueeze(-2) @ found.rows())[0]
    return shrunk.mT if transposed else shrunk


@dataclass(frozen=True, kw_only=True)
class Solution:
    """A weight from the proximal step, so its zeros, or its rank, are exact.

    Attributes:
        weight: (m, n) float64.
        excess: see `Guarantee.excess`; above `TOLERANCE` the weight is not a solution.
        iterations: number of ADMM iterations.
    """

    weight: Tensor
    excess: float
    iterations: int


def solve(wanted: Guarantee, shrink: Shrink, *, most: int = 5000) -> Solution:
    """Solves by ADMM the problem whose proximal step is `shrink`.

    ADMM ends when both relative residuals (Boyd et al., section 3.3.1) and the excess of the shrunk
    weight itself are below `TOLERANCE`, or after `most` iterations. One iteration takes about m n
    (n + 2 p) multiply-adds, and a dozen m x p matrices are held: meant for a few thousand columns.
    """
    nothing = wanted.targets.new_zeros(len(wanted.targets), len(wanted.inputs))
    excess = wanted.excess(nothing)
    if excess <= TOLERANCE:
        return Solution(weight=nothing, excess=excess, iterations=0)
    moments = wanted.inputs @ wanted.inputs.mT
    scale = _SPREAD * math.sqrt(float(moments.max()))
    scaled = wanted.scaled(1 / scale)
    # The step size is not in this matrix, so one inverse serves every step.
    matrix = moments / scale**2 + torch.eye(len(moments), dtype=moments.dtype).to(moments)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(matrix))
    state, balanced = _start(scaled, inverse), 2 * _CHECKED
    for iteration in range(1, most + 1):
        before, state = state, _advanced(state, scaled, inverse, shrink)
        if iteration % _CHECKED and iteration < most:
            continue
        excess, dual = scaled.excess(state.shrunk), state.dual(before)
        # The radius is small next to all outputs, and the excess is relative to the radius.
        primal = max(state.primal(), excess)
        if iteration == most or max(primal, dual) < TOLERANCE:
            break
        if iteration >= balanced:
            # At doubling intervals: ADMM need not converge if the step never settles.
            state, balanced = state.balanced(primal, dual), 2 * balanced
    return Solution(weight=state.shrunk, excess=excess, iterations=iteration)


@dataclass(frozen=True, kw_only=True)
class _State:
    """State of the ADMM: W1, W2, W3, W3 X and the scaled duals U1, U2 of Net-Trim's solver.

    Attributes:
        allowed: (m, p) outputs that the guarantee allows.
        shrunk: (m, n) weight from the proximal step.
        weight: (m, n) weight that must agree with both.
        outputs: (m, p) outputs of `weight` on the inputs.
        pull: (m, p) dual of outputs = allowed.
        pull_weight: (m, n) dual of weight = shrunk.
        step: size of the proximal step, 1 / rho.
    """

    allowed: Tensor
    shrunk: Tensor
    weight: Tensor
    outputs: Tensor
    pull: Tensor
    pull_weight: Tensor
    step: float

    def primal(self) -> float:
        """Disagreement of the three, relative to their norm."""
        apart = _norm(self.allowed - self.outputs, self.shrunk - self.weight)
        size = max(_norm(self.allowed, self.shrunk), _norm(self.outputs, self.weight))
        return apart / max(size, _TINY)

    def dual(self, before: _State) -> float:
        """Change of the weight, relative to the duals' norm."""
        moved = _norm(self.outputs - before.outputs, self.weight - before.weight)
        return moved / max(_norm(self.pull, self.pull_weight), _TINY)

    def balanced(self, primal: float, dual: float) -> _State:
        """The state with a step that brings the residuals closer together (Boyd et al., 3.4.1)."""
        factor = min(10.0, max(0.1, math.sqrt(dual / max(primal, _TINY))))
        return replace(
            self,
            pull=self.pull * factor,
            pull_weight=self.pull_weight * factor,
            step=self.step * factor,
        )


def _start(wanted: Guarantee, inverse: Tensor) -> _State:
    """The ridge regression, with a step of the size of its entries."""
    weight = wanted.targets @ wanted.inputs.mT @ inverse
    outputs = weight @ wanted.inputs
    return _State(
        allowed=outputs,
        shrunk=weight,
        weight=weight,
        outputs=outputs,
        pull=torch.zeros_like(outputs),
        pull_weight=torch.zeros_like(weight),
        step=float(weight.square().mean().sqrt()),
    )


def _advanced(state: _State, wanted: Guarantee, inverse: Tensor, shrink: Shrink) -> _State:
    allowed = wanted.nearest(state.outputs - state.pull)
    shrunk = shrink(state.weight - state.pull_weight, state.step)
    pull = state.pull + torch.lerp(state.outputs, allowed, _RELAXED)
    pull_weight = state.pull_weight + torch.lerp(state.weight, shrunk, _RELAXED)
    weight = (pull @ wanted.inputs.mT + pull_weight) @ inverse
    outputs = weight @ wanted.inputs
    return _State(
        allowed=allowed,
        shrunk=shrunk,
        weight=weight,
        outputs=outputs,
        pull=pull - outputs,
        pull_weight=pull_weight - weight,
        step=state.step,
    )


def _norm(outputs: Tensor, weight: Tensor) -> float:
    return float(torch.hypot(torch.linalg.vector_norm(outputs), torch.linalg.vector_norm(weight)))
