"""Networks timed in turn with one, so that both fold batch norm or neither does."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from trp_search.records import Precision, Target
from trp_search.runtimes.int8_noise import exchanging_int8, serve_int8
from trp_search.runtimes.serving import IN_FILE, Call, Exchanged, Parts, exchanging, serve
from trp_search.runtimes.timing import FEWEST, Timing, clock_of, compare

Network = Callable[[], nn.Module]


class Beside:
    """Times networks on a target, each in turn with the network that `dense` makes.

    In int8 all are quantised on noise. Whoever makes a network makes a new one each time, as
    runtimes change those they serve.
    """

    def __init__(
        self, dense: Network, target: Target, *, channels: int, precision: Precision = "float32"
    ) -> None:
        self._dense, self._target, self._channels = dense, target, channels
        self._precision = precision
        self._call, self._folded = self._served(dense)
        self._exchanged: Exchanged | None = None

    def exchanged(self, parts: Parts, network: Network, *, seconds: float, fewest: int) -> Timing:
        """The times of the baseline and of it with `parts` for layers, which `network` makes.

        Where the runtime can, that takes no network of its own.
        """
        if self._exchanged is None:
            made = exchanging if self._precision == "float32" else exchanging_int8
            self._exchanged = made(self._dense(), self._target, channels=self._channels)
        call = self._exchanged(parts)
        if call is None:
            return self.time(network, seconds=seconds, fewest=fewest)[0]
        return compare(
            self._call, call, seconds=seconds, fewest=fewest, clock=clock_of(self._target)
        )

    def against(self, other: Beside, *, seconds: float) -> Timing:
        """The times of both baselines, this one's first."""
        return compare(self._call, other._call, seconds=seconds, clock=clock_of(self._target))

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
        if self._precision == "int8":
            return serve_int8(network(), self._target, channels=self._channels)
        return serve(network(), self._target, channels=self._channels, fold=fold)
