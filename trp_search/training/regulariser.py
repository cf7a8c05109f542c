"""Trained Rank Pruning as two calls in any training loop (arXiv 1812.02402 and 2004.14566)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, final

import torch
from torch import Tensor, nn
from typing_extensions import override

from trp_search import records
from trp_search.errors import InputError
from trp_search.lowrank.budgets import Count
from trp_search.lowrank.decompositions import DECOMPOSITIONS
from trp_search.lowrank.tracing import full_precision
from trp_search.lowrank.truncation import Spectra, spectra
from trp_search.training.activations import Activations
from trp_search.training.choosing import choosing
from trp_search.training.hook import Hook
from trp_search.training.weights import Group, Weights


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
        keep: the rank rule: `Energy`, `Value`, `Ratio`, `Evbmf` or `GavishDonoho` per weight, or
            `Speedup`, `Parameters`, `LatencySpeedup` or `Milliseconds`, for which each truncation
            chooses anew the ranks over all layers that lose least within the budget.
        scheme: `channel`, `spatial`, `decoupled`, or `per-layer`: in each weight, and anew at each
            truncation, the one that costs least at the rank that `keep` gives or, towards a budget,
            loses least.
        period: iterations between truncations (the paper's m); None for never.
        projection: whether weights are replaced, or only pulled by the nuclear term.
        nuclear_weight: weight of the nuclear term per iteration: the paper's lambda over its
            period.
        nuclear_every_step: add w * U_k V_k^T at every iteration instead.
        layers: which may be cut, as in `decompose`.
        calibration: batches of images whose activations weight errors, a few hundred in all, read
            anew at each measurement, so no iterator; truncations then keep what changes the layers'
            outputs least. None uses weights alone.
        calibration_every: truncations from one measurement to the next; `before_epoch` begins anew.
        times: those of the network's layers, from `time_layers`, for a time budget; they are
            timed once, before training.

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
        calibration: Iterable[Tensor] | None = None,
        calibration_every: int = records.Pruning.calibration_every,
        times: Count | None = None,
    ) -> None:
        self._settings = records.made(
            records.Pruning,
            "TrainedRankPruning",
            scheme=scheme,
            keep=keep,
            period=period,
            projection=projection,
            nuclear_weight=nuclear_weight,
            nuclear_every_step=nuclear_every_step,
            layers=layers,
            calibration_every=calibration_every,
        )
        if isinstance(calibration, Iterator):
            raise InputError("TrainedRankPruning: calibration: is read more than once; give a list")
        self._network = network
        decomposition = DECOMPOSITIONS[scheme]
        selection = decomposition.settled(network, example_input, layers)
        rows = decomposition.measured(network, example_input, selection)
        self._weights = Weights(
            network, rows, where="TrainedRankPruning", reading=calibration is not None
        )
        self._activations = None
        if calibration is not None:
            self._activations = Activations(network, example_input, calibration)
        self.layers, self.left_out = self._weights.names, self._weights.left_out
        asked = dataclasses.replace(self._settings, layers=selection)
        try:
            self._choosing = choosing(
                network, example_input, rows, self._weights.found(), asked, times
            )
        except InputError as error:
            raise type(error)(f"TrainedRankPruning: {error}") from None
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
    def before_epoch(self) -> None:
        """Forgets measured activations: the next truncation measures them anew."""
        if self._activations is not None:
            self._activations.forget()

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
            if self._activations is not None and self._is_outdated():
                self._activations.forget()
            # Half precision would round every singular value to zero.
            with full_precision(self._network):
                self._truncate(groups, pulling=pulling, projecting=projecting)
            self._left = _states(groups)

    def _is_outdated(self) -> bool:
        """Whether the activations are to be measured anew at this iteration."""
        settings = self._settings
        often = settings.period and settings.period * settings.calibration_every
        return often is not None and self._iteration % often == 0

    def _spectra(self, groups: list[Group]) -> list[Spectra]:
        if self._activations is not None:
            return self._activations.spectra(groups)
        return [spectra(group.stacked(group.values)) for group in groups]

    def _truncate(self, groups: list[Group], *, pulling: bool, projecting: bool) -> None:
        found = self._spectra(groups)
        for group, one, kept in zip(groups, found, self._choosing.kept(found), strict=True):
            values = group.values
            if pulling:
                self._pulls.append(kept.chosen(group.folded(one.polar(kept.values))))
            if projecting:
                low = group.folded(one.truncated(kept.values))
                torch._foreach_copy_(values, kept.chosen(low, values))

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
