"""The interface of a method to the training loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from trp_search.lowrank.budgets import Count
from trp_search.lowrank.cutting import Samples
from trp_search.records import TrialSpec

__all__ = ["Beginning", "Hook", "Samples"]


@dataclass(frozen=True, kw_only=True)
class Beginning:
    """What there is when a training begins.

    Attributes:
        network: in training.
        spec: of the trial.
        example_input: an image.
        samples: training images.
        times: of layers on the search's target, if it has one.
    """

    network: nn.Module
    spec: TrialSpec
    example_input: Tensor
    samples: Samples
    times: Count | None = None


class Hook:
    """Hooks into every optimiser step; this base class does nothing.

    Attributes:
        recordable: whether each step computes alike, so that it may be recorded once and replayed.
    """

    recordable = True
    _iteration = 0

    @property
    def iteration(self) -> int:
        """Optimiser steps so far."""
        return self._iteration

    def before_epoch(self) -> None:
        """Drops what a checkpoint does not hold: an epoch is alike after a resume."""
        return

    def before_forward(self) -> None:
        """May change weights before a batch."""
        return

    def backward(self, passes: Callable[[], Tensor]) -> Tensor:
        """The loss of a batch; leaves its gradient, by one or more `passes` forward and back."""
        return passes()

    def whole_loss(self, loss: Tensor, distance: Callable[[], Tensor]) -> Tensor:
        """The loss of a batch from the network's own.

        Args:
            loss: of the network's answers.
            distance: from these answers, which are fixed, to those of the network as it is now.
        """
        del distance
        return loss

    def before_step(self) -> None:
        """May change gradients before the optimiser's step."""
        return

    def parameters(self) -> list[nn.Parameter]:
        """What trains beside the network's parameters."""
        return []

    def rest(self) -> None:
        """Leaves the network as its score after an epoch is of."""
        return

    def finish(self) -> None:
        """Leaves the network as it would be handed over, after any epoch."""
        return

    def continue_from(self, iteration: int) -> None:
        """Goes on after so many steps, with all parameters already those of then."""
        self._iteration = iteration

    def state_dict(self) -> dict[str, Any]:
        """State for a resumed training, beside the network's and the optimiser's."""
        return {"iteration": self._iteration}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores the state of an earlier `state_dict`."""
        self._iteration = state["iteration"]
