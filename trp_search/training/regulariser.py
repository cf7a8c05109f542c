"""Trained Rank Pruning as two calls in any training loop (arXiv 1812.02402 and 2004.14566)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast, final

import torch
from torch import Tensor, nn
from typing_extensions import override

from trp_search import records
from trp_search.errors import InputError
from trp_search.lowrank.allocation import relaxed
from trp_search.lowrank.budgets import counted, room
from trp_search.lowrank.costs import MeasuredLayer, measure, outside, settled
from trp_search.lowrank.counter import multiply_adds
from trp_search.lowrank.rules import ranks
from trp_search.lowrank.schemes import SCHEMES
from trp_search.lowrank.tracing import images_in
from trp_search.lowrank.truncation import Spectra, spectra
from trp_search.training.hook import Hook
from trp_search.training.weights import Group, Weights, device_type


@final
class TrainedRankPruning(Hook):
    """Keeps a network's weights near low rank while it trains.

    >>> import torch
    >>> from torch import nn
    >>> from trp_search import Energy, TrainedRankPruning
    >>> network = nn.Sequential(nn.Conv2d(1, 16, 3), nn.Flatten(), nn.Linear(576, 10))
    >>> optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    >>> pruning = TrainedRankPruning(
    ...     network, torch.rand(1, 1, 8, 8), Energy(0.95), scheme="spatial", period=20
    ... )
    >>> pruning
    TrainedRankPruning(energy 0.95, spatial, every 20 iterations, 2 of 2 layers)
    >>> for images, labels in [(torch.rand(8, 1, 8, 8), torch.arange(8))] * 3:
    ...     pruning.before_forward()
    ...     loss = nn.functional.cross_entropy(network(images), labels)
    ...     optimizer.zero_grad()
    ...     loss.backward()
    ...     pruning.before_step()
    ...     optimizer.step()
    >>> pruning.iteration
    3

    At every iteration t with t % period == 0, counted over the whole run from 0, the truncated SVD
    of each selected weight is computed at the rank that `keep` gives. With `projection` the
    truncation replaces the weight; with a nuclear weight w, w * period * U_k V_k^T of the same SVD
    is added to the gradient. With gradient scaling, unscale before `before_step`; with gradient
    accumulation, call each once per optimiser step.

    Args:
        network: the module to train, before `torch.compile`; `scheme` and `layers` choose among its
            trainable weights, which are looked up by name each time.
        example_input: input of its forward pass, which tells the layers that a cut could replace.
        keep: the rank rule: `Energy`, `Value`, `Ratio` or `Evbmf` of each weight, or `Speedup` or
            `Parameters`, for which each truncation chooses anew the ranks over all layers that lose
            least within the budget.
        scheme: `channel`, `spatial` or `decoupled`.
        period: iterations between truncations (the paper's m); None for never.
        projection: whether weights are replaced, or only pulled by the nuclear term.
        nuclear_weight: weight of the nuclear term per iteration: the paper's lambda over its
            period.
        nuclear_every_step: add w * U_k V_k^T at every iteration instead.
        layers: which may be cut, as in `decompose`.

    Attributes:
        layers: names of the layers that are truncated; those that a cut would leave dense are not.
        left_out: all other convolutions and linear layers, with the reason.

    Raises:
        InputError: a setting out of range, or a network that is compiled, scripted or exported, or
            has no weights yet.
    """

    def __init__(  # noqa: PLR0913  options of a public call, each with a default
        self,
        network: nn.Module,
        example_input: Tensor | Sequence[Any],
        keep: records.Keep = records.Pruning.keep,
        *,
        scheme: str = "channel",
        period: int | None = 20,
        projection: bool = True,
        nuclear_weight: float = 0.0,
        nuclear_every_step: bool = False,
        layers: records.Layers = records.AUTO,
    ) -> None:
        try:
            self._settings = records.Pruning(
                scheme=cast("records.Scheme", scheme),
                keep=keep,
                period=period,
                projection=projection,
                nuclear_weight=nuclear_weight,
                nuclear_every_step=nuclear_every_step,
                layers=layers,
            )
        except ValueError as error:
            raise InputError(
                f"TrainedRankPruning: {records.problem(error, records.Pruning)}"
            ) from None
        self._network = network
        selection = settled(network, example_input, layers)
        measured = measure(network, example_input, SCHEMES[scheme], layers=selection)
        self._weights = Weights(network, measured, SCHEMES[scheme], where="TrainedRankPruning")
        self.layers, self.left_out = self._weights.names, self._weights.left_out
        self._plan: _Plan | None = None
        if isinstance(keep, records.WholeNetwork):
            order = [weight.name for group in self._weights.found() for weight in group.weights]
            asked = dataclasses.replace(self._settings, layers=selection)
            try:
                self._plan = _plan(network, example_input, measured, order, asked)
            except InputError as error:
                raise InputError(f"TrainedRankPruning: {error}") from None
        self._pulls: list[list[Tensor]] = []
        self._left: list[tuple[int, int]] = []
        self._idle = False

    @override
    def __repr__(self) -> str:
        settings, taken = self._settings, len(self.layers)
        kept = settings.keep.key()
        kept += "" if settings.keep.is_switch() else f" {settings.keep.amount:g}"
        often = "never" if settings.period is None else f"every {settings.period} iterations"
        total = taken + len(self.left_out)
        return f"TrainedRankPruning({kept}, {settings.scheme}, {often}, {taken} of {total} layers)"

    @override
    @torch.no_grad()
    def before_forward(self) -> None:
        """Truncates the weights when the iteration is due.

        Raises:
            InputError: the network has lost a weight, or is not the network that is trained.
        """
        settings = self._settings
        due = settings.period is not None and self._iteration % settings.period == 0
        pulling = settings.nuclear_weight > 0 and (due or settings.nuclear_every_step)
        projecting = settings.truncates and due
        self._pulls = []
        if pulling or projecting:
            groups = self._weights.found()
            if self._idle and self._left == _states(groups):
                raise InputError(
                    "TrainedRankPruning: the network was given no gradient and its weights are as "
                    "they were: a copy that is trained in its place needs a TrainedRankPruning too"
                )
            # Half precision would round every singular value to zero.
            with torch.autocast(device_type(groups), enabled=False):
                self._truncate(groups, pulling=pulling, projecting=projecting)
            self._left = _states(groups)

    def _truncate(self, groups: list[Group], *, pulling: bool, projecting: bool) -> None:
        found = [spectra(group.stacked(group.values)) for group in groups]
        for group, one, kept in zip(groups, found, self._kept(groups, found), strict=True):
            if pulling:
                self._pulls.append(group.folded(one.polar(kept)))
            if projecting:
                low = group.folded(one.truncated(kept))
                torch._foreach_copy_(group.values, low)

    def _kept(self, groups: list[Group], found: list[Spectra]) -> list[Tensor]:
        """Masks of the values that a truncation keeps, one for each group."""
        keep = self._settings.keep
        if isinstance(keep, records.PerLayer):
            sides = [one.matrices.shape[-1] for one in found]
            return [
                one.last(ranks(keep, one.values(), longer=side))
                for one, side in zip(found, sides, strict=True)
            ]
        assert self._plan is not None
        if not found:
            return []
        counts = [len(group.weights) for group in groups]
        lost = [one.lost(layers=count) for one, count in zip(found, counts, strict=True)]
        chosen = torch.split(self._plan.ranks(lost), counts)
        return [
            one.last(rank.repeat_interleave(len(one.squares) // count))
            for one, rank, count in zip(found, chosen, counts, strict=True)
        ]

    @override
    @torch.no_grad()
    def before_step(self) -> None:
        """Adds the nuclear term to the gradients, if there is one, and ends the iteration."""
        groups = self._weights.found() if self._pulls else ()
        for group, pulls in zip(groups, self._pulls, strict=True):
            pairs = zip(group.weights, pulls, strict=True)
            found = [
                (gradient, term)
                for weight, term in pairs
                if (gradient := weight.gradient) is not None
            ]
            if found:
                gradients, terms = zip(*found, strict=True)
                torch._foreach_add_(list(gradients), list(terms), alpha=self._pull())
        self._pulls = []
        self._idle = all(parameter.grad is None for parameter in self._network.parameters())
        self._iteration += 1

    def _pull(self) -> float:
        """The factor of the nuclear term where the term acts, which may be once per period."""
        settings = self._settings
        if settings.nuclear_every_step or settings.period is None:
            return settings.nuclear_weight
        return settings.nuclear_weight * settings.period


def _states(groups: list[Group]) -> list[tuple[int, int]]:
    """State that changes when a weight is replaced or written to."""
    parameters = [weight.parameter for group in groups for weight in group.weights]
    return [(id(parameter), parameter._version) for parameter in parameters]


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """The cost of each rank, one row per weight, and the budget for all weights.

    Attributes:
        cost: (L, K) multiply-adds or parameters of each rank; rank 0 stands for dense.
        budget: for all weights together.
    """

    cost: Tensor
    budget: float

    def ranks(self, lost: Sequence[Tensor]) -> Tensor:
        """(L,) ranks from the (l, q + 1) shares of energy lost; the full width for dense."""
        cost = self.cost.to(lost[0].device)
        error = cost.new_zeros(cost.shape)
        start = 0
        for table in lost:
            rows = slice(start, start + len(table))
            error[rows, 1 : table.shape[1]] = table[:, 1:].double()
            start = rows.stop
        chosen = relaxed(cost, error, self.budget)
        return torch.where(chosen == 0, cost.shape[1], chosen)


def _plan(
    network: nn.Module,
    example_input: Tensor | Sequence[Any],
    measured: Sequence[MeasuredLayer],
    order: Sequence[str],
    settings: records.Pruning,
) -> _Plan:
    """The plan for the weights of the layers `order`; the cost of all other parts is fixed."""
    keep = settings.keep
    assert isinstance(keep, records.WholeNetwork), keep
    count = counted(keep)
    by_name = {layer.name: layer for layer in measured}
    layers = [by_name[name] for name in order]
    cost = torch.full(
        (len(layers), 1 + max((layer.full_ranks[-1] for layer in layers), default=0)), torch.inf
    ).double()
    for row, layer in zip(cost, layers, strict=True):
        row[0] = count.dense(layer)
        found = count.at(layer, [torch.arange(1, layer.full_ranks[-1] + 1)])
        cheaper = found[found < count.dense(layer)]
        row[1 : len(cheaper) + 1] = cheaper
    every, dense = (sum(count.dense(layer) for layer in those) for those in (measured, layers))
    macs = multiply_adds(network, example_input) // images_in(example_input)
    other = count.other(network, every, other_macs=outside(measured, macs=macs))
    budget = room(
        keep,
        dense=dense,
        least=float(cost.min(1).values.sum()),
        other=other + every - dense,
        layers=settings.layers,
    )
    return _Plan(cost=cost, budget=budget)
