"""Universally slimmable training: one training for every width (arXiv 1903.05134)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, final

import torch
from torch import Tensor, nn
from typing_extensions import override

from trp_search import records
from trp_search.errors import InputError
from trp_search.lowrank.channel_budget import counts
from trp_search.lowrank.costs import outside
from trp_search.lowrank.filters import Ranking, by_place, ranking
from trp_search.lowrank.leading import Places, leading, narrow, reorder_
from trp_search.lowrank.placing import copied
from trp_search.lowrank.prunable import computes
from trp_search.lowrank.pruning import Ranked, ranked
from trp_search.lowrank.tracing import images_in
from trp_search.training.grid import BUDGETS, reached
from trp_search.training.hook import Hook
from trp_search.workloads.seeds import seeded


@final
class SlimmableTraining(Hook):
    """Trains the leading channels of each group to be a network of their own, at any width.

    Channels are put into the order of their importance once. Then each step trains the whole
    network by the task's loss, and the narrowest and some of a width between by the distance to its
    answers: the paper's sandwich rule and in-place distillation. Widths are those of a grid of
    speedups. A narrow network has the batch's statistics; its own are measured after the cut.

    Args:
        network: whose channels are reordered; it computes what it did.
        example_input: input of its forward pass.
        settings: of the widths.
        seed: determines the draws, together with the step.

    Raises:
        InputError: no channels can leave; or the network computes otherwise in another order.
    """

    recordable = False

    def __init__(
        self,
        network: nn.Module,
        example_input: Tensor | Sequence[Any],
        settings: records.Slimmable,
        *,
        seed: int = 0,
    ) -> None:
        self._network, self._draws, self._seed = network, settings.draws, seed
        self._wanted = wanted = records.Cut(
            scheme="prune",
            keep=records.Speedup(settings.highest),
            importance=settings.importance,
            allocation=settings.allocation,
            layers=settings.layers,
        )
        self._found = _ranked(network, example_input, wanted)
        before, orders = copied(network), [one.order.flip(0) for one in self._found.rankings]
        reorder_(network, self._found.prunable.groups, orders)
        if not computes(network, before, example_input):
            raise InputError("the network does not compute the same with its channels reordered")
        self._grid: list[Places] = []
        self.before_epoch()

    @override
    def before_epoch(self) -> None:
        """Chooses the widths of each speedup by the weights as they are, as a cut would."""
        groups = self._found.prunable.groups
        rankings = [by_place(self._network, group) for group in groups]
        rows = _grid(self._found, rankings, self._wanted)
        self._grid = [leading(self._network, groups, row) for row in rows]

    @override
    def whole_loss(self, loss: Tensor, distance: Callable[[], Tensor]) -> Tensor:
        generator = seeded("slimmable", self._seed, self._iteration)
        between = torch.randint(len(self._grid) - 1, (self._draws,), generator=generator)
        for places in (*(self._grid[place] for place in between.tolist()), self._grid[-1]):
            with narrow(self._network, places):
                loss = loss + distance()
        self._iteration += 1
        return loss


def _ranked(
    network: nn.Module, example_input: Tensor | Sequence[Any], wanted: records.Cut
) -> Ranked:
    """Every group by the criterion, or by magnitude where it has none: a cut takes of all."""
    every = dataclasses.replace(wanted, importance="magnitude")
    found = ranked(network, example_input, every, None)
    assert wanted.importance is not None
    own = [ranking(network, group, wanted.importance, {}) for group in found.prunable.groups]
    if all(isinstance(one, str) for one in own):
        raise InputError(f"slimmable: importance: {wanted.importance}: {own[0]}")
    pairs = zip(own, found.rankings, strict=True)
    rankings = [usual if isinstance(one, str) else one for one, usual in pairs]
    return dataclasses.replace(found, rankings=rankings)


def _grid(found: Ranked, rankings: Sequence[Ranking], wanted: records.Cut) -> list[list[int]]:
    """How many units of each group stay at each speedup that can be reached, the lowest first."""
    macs = found.macs // images_in(found.example_input)
    other = outside(found.prunable.layers, macs=macs)
    assert isinstance(wanted.keep, records.Speedup)
    highest = wanted.keep.speedup

    def units(keep: records.Speedup) -> list[int]:
        at = dataclasses.replace(wanted, keep=keep)
        return counts(found.prunable, rankings, at, other_macs=other)

    speedups = (highest ** (place / BUDGETS) for place in range(1, BUDGETS + 1))
    return reached(speedups, units, least=2)
