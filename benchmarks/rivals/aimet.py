"""AIMET: spatial SVD with ranks by its greedy search over what each layer loses alone."""

from __future__ import annotations

import os
from decimal import Decimal

from aimet_torch.common.defs import CompressionScheme, CostMetric, GreedySelectionParameters
from aimet_torch.compress import ModelCompressor
from aimet_torch.defs import SpatialSvdParameters
from torch import nn

from benchmarks.rivals.given import Given

SAVED = "data/greedy_selection_eval_scores_dict.pkl"  # where AIMET keeps scores of layers


def cut(given: Given) -> nn.Module:
    """Compresses to the budget, as AIMET counts it: tighter until our count agrees."""
    os.chdir(given.folder)
    mode = SpatialSvdParameters.Mode.auto
    wanted = Decimal(1) / Decimal(given.budget)

    def scored(network: nn.Module, *_: object, **__: object) -> float:
        return given.score(network)

    for _ in range(10):
        saved = SAVED if (given.folder / SAVED).exists() else None
        greedy = GreedySelectionParameters(wanted, saved_eval_scores_dict=saved)
        auto = SpatialSvdParameters.AutoModeParams(greedy, [given.network.conv1])
        network, _ = ModelCompressor.compress_model(
            given.network,
            scored,
            eval_iterations=1,
            input_shape=(1, 3, 32, 32),
            compress_scheme=CompressionScheme.spatial_svd,
            cost_metric=CostMetric.mac,
            parameters=SpatialSvdParameters(mode, auto),
        )
        if given.small_enough(network):
            return network
        wanted *= Decimal("0.98")
    raise ValueError(f"AIMET does not reach {given.budget:g}x")
