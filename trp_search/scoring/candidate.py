"""From trained weights and a cut to a scored network, or the reason why there is no score."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trp_search.evaluation import DivergedError, Evaluation, evaluate
from trp_search.lowrank.decompose import Decomposed, decompose
from trp_search.records import Cut, Layer
from trp_search.scoring.batch_norm import reestimate
from trp_search.scoring.flops import count
from trp_search.workloads.data import Splits, Train

_BATCH = 256


class RefusedError(Exception):
    """A network whose multiply-adds cannot be counted, so that no speedup can be stated."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one image costs, and what is stored."""

    macs: int
    parameters: int


@dataclass(frozen=True, kw_only=True)
class Scored:
    """A network as it would be shipped, and what it does on validation."""

    network: nn.Module
    layers: tuple[Layer, ...]
    cost: Cost
    batch_norm: str
    validation: Evaluation


def score_cut(network: nn.Module, cut: Cut, splits: Splits) -> Scored:
    """Cuts a copy of `network`, re-estimates batch norm on training images, scores on validation.

    Raises:
        RefusedError: an operator whose cost is unknown.
        DivergedError: a loss that is not finite.
    """
    decomposed = decompose(
        network,
        _example(splits, network),
        scheme=cut.scheme,
        energy=cut.energy,
        value=cut.value,
        layers=cut.layers,
    )
    return Scored(
        network=decomposed.network,
        layers=decomposed.layers,
        batch_norm=_settle_batch_norm(decomposed, cut, splits.train),
        cost=cost_of(decomposed.network, splits),
        validation=_evaluated(decomposed.network, splits),
    )


def score_uncut(network: nn.Module, splits: Splits) -> Scored:
    """Scores `network` as it is; raises as `score_cut` does."""
    return Scored(
        network=network,
        layers=(),
        batch_norm="as trained",
        cost=cost_of(network, splits),
        validation=_evaluated(network, splits),
    )


def cost_of(network: nn.Module, splits: Splits) -> Cost:
    """Multiply-adds and parameters; raises RefusedError when an operator's cost is unknown."""
    found = count(network, _example(splits, network))
    if found.unknown:
        raise RefusedError(f"multiply-adds of {', '.join(found.unknown)} are unknown")
    return Cost(macs=found.macs, parameters=sum(p.numel() for p in network.parameters()))


def _example(splits: Splits, network: nn.Module) -> Tensor:
    shape = splits.shape
    device = next(network.parameters()).device
    return torch.zeros(1, shape.channels, shape.height, shape.width, device=device)


def _settle_batch_norm(decomposed: Decomposed, cut: Cut, train: Train) -> str:
    if not cut.reestimate_batch_norm or all(layer.rank is None for layer in decomposed.layers):
        return "as trained"
    images = reestimate(decomposed.network, train.samples(cut.batch_norm_images, batch_size=_BATCH))
    return f"re-estimated on {images} training images" if images else "none in the network"


def _evaluated(network: nn.Module, splits: Splits) -> Evaluation:
    result = evaluate(network, splits.validation.batches(_BATCH))
    if not math.isfinite(result.loss):
        raise DivergedError("the validation loss is not finite")
    return result
