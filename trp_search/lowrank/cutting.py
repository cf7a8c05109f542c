"""Cuts of a trained network, with their common work done once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from torch import Tensor, nn

from trp_search import records
from trp_search.lowrank.analysis import Analysis, analyse
from trp_search.lowrank.budgets import Count
from trp_search.lowrank.costs import measure, outside
from trp_search.lowrank.decompose import Decomposed, cut
from trp_search.lowrank.decompositions import DECOMPOSITIONS
from trp_search.lowrank.pruning import Ranked, factored_too, pruned, ranked
from trp_search.lowrank.reconstruct import reconstruct_
from trp_search.lowrank.schemes import SCHEMES
from trp_search.progress import doing

Samples = Callable[[int], Iterable[Tensor]]


class Cutter:
    """Cuts `network`, which is not changed, as a `records.Cut` says.

    Args:
        network: any module.
        example_input: input of its forward pass.
        macs: multiply-adds of the whole network for one image.
        samples: a number of images in batches, always the same; None if no cut needs images.
        times: of layers on a target, for time budgets.
    """

    def __init__(
        self,
        network: nn.Module,
        example_input: Tensor | Sequence[Any],
        *,
        macs: int,
        samples: Samples | None,
        times: Count | None = None,
    ) -> None:
        self._network = network
        self._example = example_input
        self._samples, self._times = samples, times
        layers = measure(network, example_input, SCHEMES["channel"], layers="all")
        self._other = outside(layers, macs=macs)
        self._analyses: dict[tuple[object, ...], Analysis] = {}
        self._rankings: dict[tuple[object, ...], Ranked] = {}

    def cut(self, wanted: records.Cut) -> Decomposed:
        """The cut network, refitted if the cut asks for a refit.

        Raises:
            InputError: the budget is out of reach, this kind of cut has nothing to do, or a value
                is not finite.
        """
        if wanted.importance is not None:
            return self._pruned(wanted)
        analysis = self.analysis(wanted)
        with doing("choosing ranks"):
            found = cut(analysis, wanted, other_macs=self._other, times=self._times)
        images = self._images(wanted.calibration_images)
        if wanted.reconstruct != "none" and images is not None:
            with doing("fitting the factors to activations"):
                reconstruct_(found, self._network, images, relu=wanted.reconstruct == "relu")
        return found

    def analysis(self, wanted: records.Cut) -> Analysis:
        """The analysis behind cuts of this kind, made once; raises as `cut`."""
        key = (wanted.scheme, wanted.layers, wanted.calibration_images, wanted.solved)
        if key not in self._analyses:
            self._analyses[key] = analyse(
                self._network,
                self._example,
                DECOMPOSITIONS[wanted.scheme],
                wanted,
                self._images(wanted.calibration_images),
            )
        return self._analyses[key]

    def _pruned(self, wanted: records.Cut) -> Decomposed:
        """Without channels; what is left of the budget comes from factors, if the cut has them."""
        ranking = self._ranked(wanted)
        if wanted.factors is None:
            return pruned(ranking, wanted, other_macs=self._other)
        assert isinstance(wanted.keep, records.Speedup)
        speedup = wanted.keep.speedup
        half = dataclasses.replace(wanted, keep=records.Speedup(speedup**0.5), factors=None)
        first = pruned(ranking, half, other_macs=self._other)
        macs, dense = (
            self._other + sum(layers)
            for layers in zip(*((x.macs, x.dense_macs) for x in first.layers), strict=True)
        )
        further = Cutter(first.network, self._example, macs=macs, samples=self._samples)
        left = records.Cut(
            keep=records.Speedup(max(1.0, speedup * macs / dense)),
            scheme=wanted.factors,
            calibration_images=wanted.calibration_images,
            layers=wanted.layers,
            multiple=wanted.multiple,
        )
        return factored_too(first, further.cut(left))

    def _ranked(self, wanted: records.Cut) -> Ranked:
        """The channels that cuts of this kind rank, ranked once."""
        key = (wanted.importance, wanted.layers, wanted.calibration_images)
        if key not in self._rankings:
            images = self._images(wanted.calibration_images)
            with doing("ranking channels"):
                self._rankings[key] = ranked(self._network, self._example, wanted, images)
        return self._rankings[key]

    def _images(self, count: int) -> Iterable[Tensor] | None:
        """`count` calibration images; None for a count of zero or without samples."""
        return self._samples(count) if count and self._samples is not None else None


def check(network: nn.Module, example_input: Tensor | Sequence[Any], wanted: records.Cut) -> None:
    """Raises InputError if this kind of cut has nothing to do, whatever the weights."""
    if wanted.importance is not None:
        ranked(network, example_input, wanted, None)
        return
    decomposition = DECOMPOSITIONS[wanted.scheme]
    selection = decomposition.settled(network, example_input, wanted.layers)
    decomposition.measured(network, example_input, selection)
