"""Trained Rank Pruning as two calls in any training loop (arXiv 1812.02402 and 2004.14566)."""

from __future__ import annotations

from collections import defaultdict
from typing import cast, final

import torch
from torch import Tensor, nn

from trp_search import records
from trp_search.errors import InputError
from trp_search.lowrank.schemes import SCHEMES, Shape, shape_of
from trp_search.lowrank.select import select
from trp_search.lowrank.truncation import spectra, wide


@final
class TrainedRankPruning:
    """Keeps a network's weights near low rank while it trains.

        pruning = TrainedRankPruning(network, scheme="spatial", energy=0.95, period=20)
        for images, labels in batches:
            pruning.before_forward()
            loss = loss_function(network(images), labels)
            optimizer.zero_grad()
            loss.backward()
            pruning.before_step()
            optimizer.step()

    At every iteration t with t % period == 0, counted over the whole run from 0, each selected
    weight gets its truncated SVD at `energy`. With `projection` the weight becomes it; with a
    nuclear weight lambda, lambda * U_k V_k^T of the same SVD is added to the gradient. With
    gradient scaling, unscale before `before_step`; with gradient accumulation, call each once per
    optimiser step.

    Args:
        network: any module; weights that train are found by `scheme` and `layers` and kept by
            reference.
        scheme: `channel`, `spatial` or `decoupled`.
        energy: share of the squared singular values kept, in (0, 1].
        period: iterations between truncations (the paper's m); None is never.
        projection: whether weights are replaced, or only pulled by the nuclear term.
        nuclear_weight: the paper's lambda; its pull per step is lambda / period.
        nuclear_every_step: add the nuclear term at every iteration.
        layers: `all`, or `kxk`: convolutions wider than 1x1 but the first (the paper's choice).

    Raises:
        InputError: a setting out of range.
    """

    def __init__(  # noqa: PLR0913  options of a public call, each with a default
        self,
        network: nn.Module,
        *,
        scheme: str = "channel",
        energy: float = 0.95,
        period: int | None = 20,
        projection: bool = True,
        nuclear_weight: float = 0.0,
        nuclear_every_step: bool = False,
        layers: records.Layers = "all",
    ) -> None:
        try:
            self._settings = records.Pruning(
                scheme=cast("records.Scheme", scheme),
                energy=energy,
                period=period,
                projection=projection,
                nuclear_weight=nuclear_weight,
                nuclear_every_step=nuclear_every_step,
                layers=layers,
            )
        except ValueError as error:
            raise InputError(f"TrainedRankPruning: {_first_line(error)}") from None
        self._scheme = SCHEMES[scheme]
        chosen, _ = select(network, self._scheme, layers=layers)
        groups: dict[Shape, list[nn.Parameter]] = defaultdict(list)
        for module in chosen.values():
            weight = module.weight
            assert isinstance(weight, nn.Parameter)
            if weight.requires_grad:
                groups[shape_of(module)].append(weight)
        self._groups = dict(groups)
        self._iteration = 0
        self._pulls: dict[Shape, list[Tensor]] = {}

    @property
    def iteration(self) -> int:
        """Optimiser steps so far."""
        return self._iteration

    @torch.no_grad()
    def before_forward(self) -> None:
        """Truncates the weights when it is their turn."""
        settings = self._settings
        due = settings.period is not None and self._iteration % settings.period == 0
        pulling = settings.nuclear_weight > 0 and (due or settings.nuclear_every_step)
        projecting = settings.projection and due
        self._pulls = {}
        if pulling or projecting:
            # Half precision would take every singular value for zero.
            with torch.autocast(self._device_type, enabled=False):
                self._truncate(pulling=pulling, projecting=projecting)

    def _truncate(self, *, pulling: bool, projecting: bool) -> None:
        settings = self._settings
        for shape, weights in self._groups.items():
            stacked = torch.cat([self._scheme.matrices(w.detach().reshape(shape)) for w in weights])
            matrices, transposed = wide(stacked.float())
            found = spectra(matrices)
            kept = found.kept(settings.energy)
            if pulling:
                self._pulls[shape] = self._folded(shape, found.polar(kept), transposed=transposed)
            if projecting:
                low = self._folded(shape, found.truncated(kept), transposed=transposed)
                torch._foreach_copy_(list[Tensor](weights), low)

    @property
    def _device_type(self) -> str:
        return next((group[0].device.type for group in self._groups.values()), "cpu")

    @torch.no_grad()
    def before_step(self) -> None:
        """Adds the nuclear term to the gradients, if there is one, and ends the iteration."""
        for shape, pull in self._pulls.items():
            pairs = zip(self._groups[shape], pull, strict=True)
            found = [(weight.grad, term) for weight, term in pairs if weight.grad is not None]
            if found:
                gradients, terms = zip(*found, strict=True)
                torch._foreach_add_(
                    list(gradients), list(terms), alpha=self._settings.nuclear_weight
                )
        self._pulls = {}
        self._iteration += 1

    def state_dict(self) -> dict[str, int]:
        """What a resumed training needs: the iteration."""
        return {"iteration": self._iteration}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Takes up the count of an earlier `state_dict`."""
        self._iteration = state["iteration"]

    def _folded(self, shape: Shape, matrices: Tensor, *, transposed: bool) -> list[Tensor]:
        """One tensor per layer, in its weight's shape, from the matrices of all of them."""
        weights = self._groups[shape]
        matrices = matrices.mT if transposed else matrices
        return [
            self._scheme.weight(part, shape).reshape(weight.shape)
            for part, weight in zip(matrices.chunk(len(weights)), weights, strict=True)
        ]


def _first_line(error: ValueError) -> str:
    return " ".join(str(error).split("\n")[1:3]).strip()
