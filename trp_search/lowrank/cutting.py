"""A trained network and every cut of it: what they have in common, worked out once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from torch import Tensor, nn

from trp_search import records
from trp_search.lowrank.analysis import Analysis, analyse
from trp_search.lowrank.costs import measure
from trp_search.lowrank.decompose import Decomposed, cut
from trp_search.lowrank.decompositions import DECOMPOSITIONS
from trp_search.lowrank.reconstruct import reconstruct_
from trp_search.lowrank.schemes import SCHEMES

Samples = Callable[[int], Iterable[Tensor]]


class Cutter:
    """Cuts `network`, which is not changed, as a `records.Cut` says.

    Args:
        network: any module.
        example_input: what its forward pass takes.
        macs: of the whole network, for one image.
        samples: so many images in batches, always the same; None where a cut looks at none.
    """

    def __init__(
        self,
        network: nn.Module,
        example_input: Tensor | Sequence[Any],
        *,
        macs: int,
        samples: Samples | None,
    ) -> None:
        self._network = network
        self._example = example_input
        self._samples = samples
        layers = measure(network, example_input, SCHEMES["channel"], layers="all")
        self._other = max(0, macs - sum(layer.dense_macs for layer in layers))
        self._analyses: dict[tuple[object, ...], Analysis] = {}

    def cut(self, wanted: records.Cut) -> Decomposed:
        """The network cut, and refitted where that is asked for.

        Raises:
            InputError: the budget is out of reach, there is nothing to cut in that way, or a value
                is not finite.
        """
        solved = wanted.keep if isinstance(wanted.keep, records.Error) else None
        key = (wanted.scheme, wanted.layers, wanted.calibration_images, solved)
        if key not in self._analyses:
            self._analyses[key] = analyse(
                self._network,
                self._example,
                DECOMPOSITIONS[wanted.scheme],
                wanted,
                self._images(wanted.calibration_images),
            )
        found = cut(self._analyses[key], wanted, other_macs=self._other)
        images = self._images(wanted.calibration_images)
        if wanted.reconstruct != "none" and images is not None:
            reconstruct_(found, self._network, images, relu=wanted.reconstruct == "relu")
        return found

    def _images(self, count: int) -> Iterable[Tensor] | None:
        """Calibration images; None for none."""
        return self._samples(count) if count and self._samples is not None else None


def check(network: nn.Module, example_input: Tensor | Sequence[Any], wanted: records.Cut) -> None:
    """Raises InputError where the kind of the cut finds nothing to do on any weights."""
    DECOMPOSITIONS[wanted.scheme].measured(network, example_input, wanted.layers)
