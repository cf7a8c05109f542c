"""Elastic training: one training for every budget, as one call in any training loop."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor, nn
from typing_extensions import override

from trp_search import records
from trp_search.errors import InputError
from trp_search.lowrank import nested
from trp_search.lowrank.analysis import Analysis, analyse
from trp_search.lowrank.choice import choose
from trp_search.lowrank.decompositions import DECOMPOSITIONS
from trp_search.lowrank.nested import Nested
from trp_search.lowrank.nested_cut import begun
from trp_search.lowrank.schemes import SCHEMES
from trp_search.lowrank.tracing import full_precision
from trp_search.training.grid import BUDGETS, reached
from trp_search.training.hook import Hook
from trp_search.training.stacks import Stack
from trp_search.training.weights import Group, Weights
from trp_search.workloads.seeds import seeded


@final
class ElasticTraining(Hook):
    """Trains the factors of every layer, nested by rank, to be good at any budget.

    >>> import torch
    >>> from torch import nn
    >>> from trp_search import ElasticTraining, Speedup, decompose
    >>> network = nn.Sequential(nn.Conv2d(3, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.Flatten())
    >>> images, labels = torch.rand(8, 3, 16, 16), torch.arange(8)
    >>> elastic = ElasticTraining(network, images, scheme="spatial", lowest=1.5, highest=6.0)
    >>> optimizer = torch.optim.SGD([*network.parameters(), *elastic.parameters()], lr=0.01)
    >>> def passes():
    ...     optimizer.zero_grad()
    ...     loss = nn.functional.cross_entropy(network(images), labels)
    ...     loss.backward()
    ...     return loss
    >>> for _ in range(3):
    ...     loss = elastic.backward(passes)
    ...     optimizer.step()
    >>> elastic.finish()
    >>> [decompose(network, images, Speedup(x), scheme="nested").speedup >= x for x in (2, 4)]
    [True, True]

    Each selected weight is the product of two factors, which begin as its SVD, weighed by
    activations if `calibration` has images; rank r takes the first r rows and columns. At each
    iteration `draws` budgets are drawn from a grid between `lowest` and `highest`, each layer's
    rank from the allocations nearby, and gradients are averaged: the sampling of universally
    slimmable networks (arXiv 1903.05134) over ranks instead of widths. Weight decay of the factors
    acts as a nuclear norm of the weights.

    A layer computes with the product at its rank, so a pass costs as much as one of the dense
    network, compiled or not. Batch norm uses the batch's statistics while it trains; measure its
    averages again after each cut.

    Args:
        network: the module to train, before `torch.compile`; `scheme` and `layers` choose among its
            trainable weights, which from now on are computed from factors.
        example_input: input of its forward pass.
        scheme: `channel`, `spatial` or `decoupled`.
        lowest: the smallest speedup of the grid, of the network's multiply-adds.
        highest: the largest, or what can be reached if that is less.
        draws: networks for each batch.
        spread: standard deviation of a layer's place on the grid around the budget's, in steps
            between budgets of which the grid has 24.
        seed: determines the draws, together with the iteration.
        calibration: batches of images whose activations weight errors.
        layers: which may be cut, as in `decompose`.

    Raises:
        InputError: a setting out of range; a budget out of reach; no weight to factor; a network
            that is compiled, scripted or exported, or has no weights yet.
    """

    def __init__(  # noqa: PLR0913  options of a public call, each with a default
        self,
        network: nn.Module,
        example_input: Tensor | Sequence[Any],
        *,
        scheme: str = "spatial",
        lowest: float = 1.5,
        highest: float = 6.0,
        draws: int = 2,
        spread: float = 1.0,
        seed: int = 0,
        calibration: Iterable[Tensor] | None = None,
        layers: records.Layers = records.AUTO,
    ) -> None:
        settings = records.made(
            records.Elastic,
            "ElasticTraining",
            scheme=scheme,
            lowest=lowest,
            highest=highest,
            draws=draws,
            spread=spread,
            layers=layers,
        )
        wanted = records.Cut(
            scheme=settings.scheme, keep=records.Speedup(settings.lowest), layers=layers
        )
        unfolded = SCHEMES[settings.scheme]
        analysis = analyse(
            network, example_input, DECOMPOSITIONS[unfolded.name], wanted, calibration
        )
        self._network, self._settings, self._seed = network, settings, seed
        rows = [[layer.layer] for layer in analysis.layers]
        self._weights = Weights(network, rows, where="ElasticTraining")
        started = begun(analysis)
        groups = self._weights.found()
        if not groups:
            raise InputError(f"ElasticTraining: layers: {layers}: no weight that trains can be cut")
        grid = _grid(analysis, wanted, settings)
        self._stacks = [Stack.of(group, started, grid) for group in groups]
        self._budgets, self._layers = len(grid), sum(len(group.weights) for group in groups)
        self._begun, self._first = 0, self._stacks[0].left.detach().clone()

    @override
    def parameters(self) -> list[nn.Parameter]:
        """The factors, which the optimiser has to train beside the network's parameters."""
        return [side for stack in self._stacks for side in (stack.left, stack.right)]

    @override
    def backward(self, passes: Callable[[], Tensor]) -> Tensor:
        """The mean loss of this iteration's networks on a batch, detached; leaves the gradient.

        Args:
            passes: runs one batch forward and backward: replaces earlier gradients and returns the
                loss. Called once for each of `draws` networks. A replay of a CUDA graph is allowed.
        """
        if self._iteration == self._begun + _TRIED:
            self._check_trained()
        groups, share = self._weights.found(), 1 / self._settings.draws
        losses: list[Tensor] = []
        sums: dict[nn.Parameter, Tensor] = {}
        pulled = [torch.zeros_like(factor) for factor in self.parameters()]
        for places in self._drawn():
            masks = self._masks(places)
            self._place_(groups, masks)
            losses.append(passes().detach().clone())
            torch._foreach_add_(pulled, self._pulled_back(groups, masks), alpha=share)
            for parameter in self._network.parameters():
                if (found := parameter.grad) is not None:
                    sums[parameter] = found * share + sums.get(parameter, 0.0)
        for parameter, total in sums.items():
            if parameter.grad is None:  # a network may skip a layer at random
                parameter.grad = total
            parameter.grad.copy_(total)
        for factor, gradient in zip(self.parameters(), pulled, strict=True):
            factor.grad = gradient
        gradients = [gradient for group in groups for gradient in group.gradients]
        torch._foreach_zero_(gradients)  # the factors have them
        self._iteration += 1
        return torch.stack(losses).mean()

    @override
    def rest(self) -> None:
        """Leaves the network at the budget in the middle of the grid."""
        middle = torch.full((self._layers,), self._budgets // 2)
        self._place_(self._weights.found(), self._masks(middle))

    @override
    @torch.no_grad()
    def finish(self) -> None:
        """Leaves the network with all ranks, as one of dense layers that carries its factors.

        `decompose` with scheme `nested` cuts it.
        """
        groups = self._weights.found()
        self._place_(groups, [torch.ones_like(stack.left[:, 0]) for stack in self._stacks])
        found: dict[str, Nested] = {}
        for stack, group in zip(self._stacks, groups, strict=True):
            found |= stack.factors(group)
        nested.carry_(self._network, {name: found[name] for name in self._weights.names})

    @override
    def state_dict(self) -> dict[str, Any]:
        """State for a resumed training, beside the network's and the optimiser's: the factors."""
        stacks = [stack.tensors() for stack in self._stacks]
        return super().state_dict() | {"stacks": stacks}

    @override
    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores an earlier `state_dict`, at any time after `__init__`; its grid of budgets too.

        Raises:
            InputError: the state is of another network, scheme, choice of layers or range that
                has another number of budgets within reach.
        """
        own = [stack.tensors() for stack in self._stacks]
        given = state.get("stacks", [])
        shapes, others = ([_shapes(stack) for stack in stacks] for stacks in (own, given))
        if shapes != others:
            raise InputError(
                "ElasticTraining: the state is of another network, scheme, layers or range: "
                f"factors of {_listed(others)}, here {_listed(shapes)}"
            )
        for mine, theirs in zip(own, given, strict=True):
            for part, tensor in mine.items():
                tensor.copy_(theirs[part])
        super().load_state_dict(state)
        self._begun, self._first = self._iteration, self._stacks[0].left.detach().clone()

    def _check_trained(self) -> None:
        """Raises InputError where no step has moved the factors, though they have gradients."""
        one = self._stacks[0].left
        if one.grad is not None and bool(one.grad.any()) and torch.equal(one, self._first):
            raise InputError(
                f"ElasticTraining: the factors are as they were {_TRIED} steps ago: give "
                "`parameters()` to the optimiser, beside the network's, at a rate above 0"
            )

    def _drawn(self) -> list[Tensor]:
        """(L,) the place on the grid of each layer, for each network."""
        generator = seeded("elastic", self._seed, self._iteration)
        last = self._budgets - 1
        found = []
        for _ in range(self._settings.draws):
            place = torch.rand((), generator=generator) * last
            apart = torch.randn(self._layers, generator=generator) * self._settings.spread
            found.append((place + apart).round().clamp(0, last).long())
        return found

    def _masks(self, places: Tensor) -> list[Tensor]:
        """Masks of the ranks of each stack, from the (L,) places of all layers on the grid."""
        counts = [stack.kept.shape[1] for stack in self._stacks]
        own = torch.split(places, counts)
        return [stack.mask(some) for stack, some in zip(self._stacks, own, strict=True)]

    @torch.no_grad()
    def _place_(self, groups: Sequence[Group], masks: Sequence[Tensor]) -> None:
        """Computes the weights from the factors that `masks` keep."""
        with full_precision(self._network):
            found = [
                value
                for stack, group, mask in zip(self._stacks, groups, masks, strict=True)
                for value in group.of_scheme(stack.products(mask))
            ]
        torch._foreach_copy_([value for group in groups for value in group.values], found)
        torch.clear_autocast_cache()  # an autocast around all passes holds the old weights

    @torch.no_grad()
    def _pulled_back(self, groups: Sequence[Group], masks: Sequence[Tensor]) -> list[Tensor]:
        """The gradients of all factors from those of the weights."""
        with full_precision(self._network):
            return [
                side
                for stack, group, mask in zip(self._stacks, groups, masks, strict=True)
                for side in stack.pulled_back(group, mask)
            ]


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {part: tuple(tensor.shape) for part, tensor in tensors.items()}


def _listed(stacks: Sequence[Mapping[str, tuple[int, ...]]]) -> str:
    found = (f"{shapes.get('left')} at {shapes.get('kept', (0,))[0]} budgets" for shapes in stacks)
    return ", ".join(found) or "none"


_TRIED = 20  # steps; a scaler of gradients skips the first few


def _grid(
    analysis: Analysis, wanted: records.Cut, settings: records.Elastic
) -> list[dict[str, int]]:
    """Ranks of the layers that are cut, for each budget that can be reached.

    Raises:
        InputError: the lowest budget cannot be reached.
    """
    names, other = [layer.layer.name for layer in analysis.layers], analysis.other_macs
    ratio = (settings.highest / settings.lowest) ** (1 / (BUDGETS - 1))

    def ranks(keep: records.Speedup) -> dict[str, int]:
        chosen = choose(analysis, dataclasses.replace(wanted, keep=keep), other_macs=other)
        named = zip(names, chosen, strict=True)
        return {name: one.ranks[-1] for name, one in named if one.ranks}

    return reached((settings.lowest * ratio**place for place in range(BUDGETS)), ranks)
