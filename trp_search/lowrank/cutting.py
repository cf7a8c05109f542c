"""A trained network and every cut of it: who makes which, and what they have in common, once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from torch import Tensor, nn

from trp_search import records
from trp_search.lowrank import linear_cut, tucker_cut
from trp_search.lowrank.analysis import Analysis, analyse
from trp_search.lowrank.costs import measure
from trp_search.lowrank.decompose import Decomposed, cut
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
        self._analyses: dict[tuple[str, str, int], Analysis] = {}

    def cut(self, wanted: records.Cut) -> Decomposed:
        """The network cut.

        Raises:
            InputError: the budget is out of reach, there is nothing to cut in that way, or a value
                is not finite.
        """
        return _OTHERS.get(wanted.scheme, Cutter.by_spectra)(self, wanted)

    def images(self, count: int) -> Iterable[Tensor] | None:
        """Calibration images; None for none."""
        return self._samples(count) if count and self._samples is not None else None

    def by_spectra(self, wanted: records.Cut) -> Decomposed:
        """Pairs of layers from SVDs, refitted where that is asked for."""
        key = (wanted.scheme, wanted.layers, wanted.calibration_images)
        if key not in self._analyses:
            self._analyses[key] = analyse(
                self._network,
                self._example,
                scheme=wanted.scheme,
                layers=wanted.layers,
                calibration=self.images(wanted.calibration_images),
            )
        found = cut(self._analyses[key], wanted, other_macs=self._other)
        images = self.images(wanted.calibration_images)
        if wanted.reconstruct != "none" and images is not None:
            reconstruct_(found, self._network, images, relu=wanted.reconstruct == "relu")
        return found

    def by_tucker(self, wanted: records.Cut) -> Decomposed:
        """Three layers where there was one."""
        return tucker_cut.cut(self._network, self._example, wanted, other_macs=self._other)

    def by_error(self, wanted: records.Cut) -> Decomposed:
        """Linear layers solved for what they answer to images."""
        images = self.images(wanted.calibration_images) or ()
        return linear_cut.cut(self._network, self._example, wanted, images)


_OTHERS: dict[str, Callable[[Cutter, records.Cut], Decomposed]] = {
    "tucker": Cutter.by_tucker,
    "ddlr-style": Cutter.by_error,
    "net-trim": Cutter.by_error,
}
