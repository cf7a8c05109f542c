"""Networks timed in turn with one, so that both fold batch norm or neither does."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from trp_search.records import Target
from trp_search.runtimes.serving import IN_FILE, Call, serve
from trp_search.runtimes.timing import FEWEST, Timing, clock_of, compare

Network = Callable[[], nn.Module]


class Beside:
    """Times networks on a target, each in turn with the network that `dense` makes.

    Whoever makes a network makes a new one each time, as runtimes change those they serve.
    """

    def __init__(self, dense: Network, target: Target, *, channels: int) -> None:
        self._dense, self._target, self._channels = dense, target, channels
        self._call, self._folded = self._served(dense)

    def time(self, network: Network, *, seconds: float, fewest: int = FEWEST) -> tuple[Timing, str]:
        """The times of both, and whether batch norm was folded."""
        reference, (call, batch_norm) = self._call, self._served(network)
        if batch_norm == IN_FILE:
            batch_norm = f"{self._folded} in the baseline, {IN_FILE}"
        elif batch_norm != self._folded:  # what only one of two is spared would pass for speed
            reference, _ = self._served(self._dense, fold=False)
            call, _ = self._served(network, fold=False)
            batch_norm = f"in neither: {self._folded} in the baseline, {batch_norm} in this one"
        clock = clock_of(self._target)
        found = compare(reference, call, seconds=seconds, fewest=fewest, clock=clock)
        return found, batch_norm

    def _served(self, network: Network, *, fold: bool = True) -> tuple[Call, str]:
        return serve(network(), self._target, channels=self._channels, fold=fold)
