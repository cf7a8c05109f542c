"""Decomposable-Net's training as one call in any training loop (arXiv 1910.13141v3, IJCAI 2021)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast, final

import torch
from torch import Tensor, nn
from typing_extensions import override

from trp_search import records
from trp_search.errors import InputError
from trp_search.lowrank.costs import measure
from trp_search.lowrank.gradient import pulled_back
from trp_search.lowrank.schemes import SCHEMES
from trp_search.lowrank.tracing import full_precision
from trp_search.lowrank.truncation import Spectra, spectra
from trp_search.training.hook import Hook
from trp_search.training.weights import Group, Weights
from trp_search.workloads.seeds import seeded


@final
class JointTraining(Hook):
    """Trains a network to be good in full and at any low rank, so that one training serves many.

        joint = JointTraining(network, images, Joint(scheme="channel", highest=0.25))

        def passes(images, labels):
            optimizer.zero_grad()
            loss = loss_function(network(images), labels)
            loss.backward()
            return loss

        for images, labels in batches:
            loss = joint.backward(lambda: passes(images, labels))
            optimizer.step()

    At each iteration a ratio z is drawn from U(lowest, highest). The singular values of all
    selected weights are pooled and the largest round(z * their number) marked; a weight's rank is
    the number of its own marked values, `rank_min` at least. The batch goes through the network in
    full, and through the network with truncated weights, which shares everything else. The joint
    gradient is (1 - alpha) g_full + alpha g_low. For a selected weight, g_low is pulled back
    through the truncation (`pulled_back`) and scaled to the norm of g_full. For other parameters
    our sources leave the scaling open; here g_low is not scaled.

    Batch norm uses the batch's statistics in both passes if the network is in training mode. All
    buffers, running averages included, stay as the full pass left them: a truncated network needs
    its own averages, measured after the cut. Dropout is drawn anew in the second pass.

    Args:
        network: the module to train, before `torch.compile`; its weights are looked up by name each
            time.
        example_input: input of its forward pass.
        settings: the scheme, the weight alpha of the low-rank loss and the range of the ratio.
        seed: determines the ratio, together with the iteration.

    Raises:
        InputError: no weight to truncate; a network that is compiled, scripted or exported, or has
            no weights yet.
    """

    def __init__(
        self,
        network: nn.Module,
        example_input: Tensor | Sequence[Any],
        settings: records.Joint,
        *,
        seed: int = 0,
    ) -> None:
        self._settings, layers = settings, settings.layers
        self._network = network
        unfolded = SCHEMES[settings.scheme]
        measured = measure(network, example_input, unfolded, layers=layers)
        self._weights = Weights(network, [[x] for x in measured], where="JointTraining")
        if not self._weights.found():
            raise InputError(f"JointTraining: layers: {layers}: no weight that trains can be cut")
        self._seed = seed

    @override
    def backward(self, passes: Callable[[], Tensor]) -> Tensor:
        """The full network's loss on a batch, detached; leaves the joint gradient in `.grad`.

        Args:
            passes: runs one batch forward and backward: replaces earlier gradients and returns the
                loss. Called twice, with the weights of the full network and with truncated ones. A
                replay of a CUDA graph is allowed: weights and buffers keep their memory, and
                gradients are written in place.
        """
        loss = passes().detach().clone()
        full = {p: p.grad.clone() for p in self._network.parameters() if p.grad is not None}
        cuts = self._cuts()
        with self._replaced(cuts):
            passes()
        self._mix_(full, cuts)
        self._iteration += 1
        return loss

    @torch.no_grad()
    def _cuts(self) -> list[_Cut]:
        """The truncations of this iteration, one for each group."""
        groups = self._weights.found()
        # Half precision would round every singular value to zero.
        with full_precision(self._network):
            found = [spectra(group.stacked(group.values)) for group in groups]
            ranks = _ranks(found, self._ratio(), least=self._settings.rank_min)
        return [
            _Cut(group=group, spectra=one, kept=one.last(rank))
            for group, one, rank in zip(groups, found, ranks, strict=True)
        ]

    def _ratio(self) -> float:
        draw = torch.rand((), generator=seeded("joint", self._seed, self._iteration)).item()
        return self._settings.lowest + draw * (self._settings.highest - self._settings.lowest)

    @contextmanager
    def _replaced(self, cuts: Sequence[_Cut]) -> Iterator[None]:
        """Truncations in place of weights; at the end, weights and all buffers are restored."""
        weights = [weight for cut in cuts for weight in cut.group.values]
        held = [*weights, *self._network.buffers()]
        before = [tensor.clone() for tensor in held]
        with full_precision(self._network):
            low = [weight for cut in cuts for weight in cut.truncated()]
        try:
            torch._foreach_copy_(weights, low)
            torch.clear_autocast_cache()  # an autocast around both passes holds the old weights
            yield
        finally:
            torch._foreach_copy_(held, before)
            torch.clear_autocast_cache()

    @torch.no_grad()
    def _mix_(self, full: dict[nn.Parameter, Tensor], cuts: Sequence[_Cut]) -> None:
        """Mixes `full` and the gradients of the low-rank pass into the joint gradient."""
        parameters = [p for p in self._network.parameters() if p in full or p.grad is not None]
        for parameter in parameters:  # a network may skip a layer at random
            full.setdefault(parameter, torch.zeros_like(parameter))
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        with full_precision(self._network):
            for cut in cuts:
                cut.pull_back_(full)
        gradients = [cast("Tensor", parameter.grad) for parameter in parameters]
        targets = [full[parameter] for parameter in parameters]
        torch._foreach_lerp_(gradients, targets, 1 - self._settings.alpha)


@dataclass(frozen=True, kw_only=True)
class _Cut:
    """A group's decomposed weights, and the (b, m) mask of the values that a truncation keeps."""

    group: Group
    spectra: Spectra
    kept: Tensor

    def truncated(self) -> list[Tensor]:
        """The weights at their ranks."""
        return self.group.folded(self.spectra.truncated(self.kept))

    def pull_back_(self, full: dict[nn.Parameter, Tensor]) -> None:
        """Pulls gradients by truncations back to the weights, scaled to the norms in `full`."""
        gradients = self.group.gradients
        stacked = self.group.stacked(gradients)
        pulled = self.group.folded(pulled_back(self.spectra, self.kept, stacked))
        norms = torch.stack(torch._foreach_norm(pulled)).clamp_min(1e-30)
        before = [
            full[w.parameter][w.rows] if w.parameter in full else torch.zeros_like(w.values)
            for w in self.group.weights
        ]
        wanted = torch.stack(torch._foreach_norm(before))
        torch._foreach_mul_(pulled, list((wanted / norms).unbind()))
        torch._foreach_copy_(gradients, pulled)


def _ranks(found: Sequence[Spectra], ratio: float, *, least: int) -> list[Tensor]:
    """(b,) ranks of each batch: counts of values among the largest share `ratio` of all values."""
    pooled = torch.cat([one.squares.flatten() for one in found])
    count = max(1, round(ratio * len(pooled)))
    smallest = pooled.sort(descending=True).values[count - 1]
    return [(one.squares >= smallest).sum(-1).clamp_min(least) for one in found]
