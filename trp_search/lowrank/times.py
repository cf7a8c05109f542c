"""Measured time as the cost of layers: a table of a few ranks, and what lies between them."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, final

import numpy as np
import torch
from torch import Tensor, nn
from typing_extensions import override

from trp_search.errors import InputError
from trp_search.lowrank.agreement import agree
from trp_search.lowrank.budgets import Count
from trp_search.lowrank.costs import MeasuredLayer
from trp_search.lowrank.factoring import Number
from trp_search.records import CutTime, Factored, Layer


@dataclass(frozen=True, kw_only=True)
class Steps:
    """Milliseconds that one layer saves at some ranks, as measured.

    Attributes:
        step: a runtime pads ranks to a multiple of this, so that others cost what the next costs;
            ranks below it only where none of them was measured.
        saved: by rank, multiples of `step` or below it; less than 0 where the pair is slower than
            the layer.
        between: by rank, where a runtime does not pad those that are no multiples: they cost more.
    """

    step: int
    saved: Mapping[int, float]
    between: Mapping[int, float] = field(default_factory=dict)

    def at(self, ranks: Tensor) -> Tensor:
        """Milliseconds saved at (K,) `ranks`: never more at a higher one.

        Ranks below the lowest measured one save what that one does; those above the highest are on
        no offer, -inf.
        """
        padded = torch.ceil(ranks / self.step) * self.step
        if min(self.saved) < self.step:
            padded = torch.where(ranks < self.step, ranks, padded)
        found = np.interp(padded.numpy(), *self._falling, right=-np.inf)
        if self.between:
            apart = ((ranks > self.step) & (ranks % self.step != 0)).numpy() & np.isfinite(found)
            found = np.where(apart, np.interp(ranks.numpy(), *self._apart), found)
        return torch.from_numpy(np.asarray(found, dtype=np.float64))

    def scaled(self, factor: float) -> Steps:
        """The same with all that is saved times `factor`."""
        saved, between = (
            {rank: factor * one for rank, one in own.items()} for own in (self.saved, self.between)
        )
        return Steps(step=self.step, saved=saved, between=between)

    def also(self, rank: int, saved: float) -> Steps:
        """The same with what was measured at a rank."""
        if rank > self.step and rank % self.step:
            return dataclasses.replace(self, between={**self.between, rank: saved})
        return dataclasses.replace(self, saved={**self.saved, rank: saved})

    @cached_property
    def _falling(self) -> tuple[list[int], list[float]]:
        return _monotone(self.saved)

    @cached_property
    def _apart(self) -> tuple[list[int], list[float]]:
        return _monotone(self.between)

    def near(self, rank: int) -> float:
        """Milliseconds saved at a rank, which counts as the highest measured one if it is above."""
        return float(self.at(torch.tensor([min(rank, max(self.saved))])))


def _monotone(saved: Mapping[int, float]) -> tuple[list[int], list[float]]:
    """Ranks, ascending, and what each saves: never more at a higher one."""
    from scipy.optimize import isotonic_regression  # noqa: PLC0415  slow to load, and few need it

    known = sorted(saved)
    return known, list(isotonic_regression([saved[rank] for rank in known], increasing=False).x)


@final
@dataclass(frozen=True, kw_only=True)
class LayerTimes(Count):
    """Milliseconds of a network on a target, dense and with one layer in factors.

    Only what factors save is measured. A dense layer's time is estimated by its share of the
    multiply-adds, or by the most that its factors save if that is more; no choice depends on it.

    Attributes:
        total: milliseconds of the baseline.
        saved: by layer and scheme; a layer that was not timed stays dense.
        macs: multiply-adds of the baseline for one image.
        shares: by scheme of layers that are not timed one by one, shares of their multiply-adds and
            of their time that they save, as whole networks were timed; a layer's time is its share
            of the multiply-adds.
        checked: whether only a network of that many is taken, within 1 %; by whoever counts both
            in one way.
    """

    noun = "milliseconds"
    rounding = 1e-9

    total: float
    saved: Mapping[tuple[str, str], Steps]
    macs: int
    shares: Mapping[str, Sequence[tuple[float, float]]] = field(default_factory=dict)
    checked: bool = False

    @override
    def check(self, macs: int) -> None:
        if self.checked and not agree(macs, self.macs):
            raise InputError(
                f"times: are of a network with {self.macs:,} multiply-adds for an image, not with "
                f"{macs:,}; call time_layers with this one and with images of this size"
            )

    @override
    def knows(self, layer: MeasuredLayer) -> bool:
        return self.steps(layer.name, layer.scheme.name) is not None

    @override
    def dense(self, layer: MeasuredLayer) -> float:
        share = self.total * layer.dense_macs / self.macs
        tables = [steps.saved for (name, _), steps in self.saved.items() if name == layer.name]
        return max([share, *(_MORE * max(saved.values()) for saved in tables)])

    @override
    def at(self, layer: MeasuredLayer, ranks: Sequence[Number]) -> Number:
        rank: Any = torch.as_tensor(ranks[-1])
        steps = self.steps(layer.name, layer.scheme.name)
        saved: Any = torch.full(rank.shape, -torch.inf) if steps is None else steps.at(rank)
        cost: Number = self.dense(layer) - saved
        return cost

    @override
    def other(self, network: nn.Module, dense: float | int, *, other_macs: int) -> float | int:
        return self.total - dense

    def milliseconds(self, layers: Iterable[Layer]) -> float | None:
        """Of the network with these layers; None where nothing tells what some of them save.

        Runtimes multiply the zeros of sparse layers too, so these save nothing.
        """
        cheaper = [layer for layer in layers if layer.scheme not in (None, "sparse")]
        saved = [self._saved(layer) for layer in cheaper]
        known = [one for one in saved if one is not None]
        return None if len(known) < len(saved) else self.total - sum(known)

    def saved_by(self, layers: Factored) -> float:
        """Milliseconds that layers save together by a scheme at a rank; others count as none."""
        found = ((self.steps(name, scheme), rank) for name, (scheme, rank) in layers.items())
        return sum((steps.near(rank) for steps, rank in found if steps is not None), 0.0)

    def scaled(self, factor: float) -> LayerTimes:
        """The table with all that is saved times `factor`."""
        saved = {key: steps.scaled(factor) for key, steps in self.saved.items()}
        return dataclasses.replace(self, saved=saved)

    def rated(self, total: float) -> LayerTimes:
        """The table of a network that takes `total` milliseconds and saves the same shares."""
        return dataclasses.replace(self.scaled(total / self.total), total=total)

    def corrected(self, networks: Iterable[tuple[Factored, float]]) -> LayerTimes:
        """The table scaled to the measured speedups of whole networks, by least squares.

        Networks with a layer that is not in the table tell nothing.
        """
        promised, measured = [0.0], [0.0]
        for layers, speedup in networks:
            if all(self.steps(name, scheme) for name, (scheme, _) in layers.items()):
                promised.append(self.saved_by(layers) / self.total)
                measured.append(1 - 1 / speedup)
        squares = float(np.dot(promised, promised))
        if squares < _LEAST_SQUARES:
            return self
        return self.scaled(max(float(np.dot(promised, measured)) / squares, _LEAST_FACTOR))

    def steps(self, name: str, scheme: str) -> Steps | None:
        """Those of a layer; spatial pairs of a 1 x 1 kernel are its channel pairs."""
        own = self.saved.get((name, scheme))
        return self.saved.get((name, "channel")) if own is None and scheme == "spatial" else own

    def _saved(self, layer: Layer) -> float | None:
        steps = self.steps(layer.name, layer.scheme or "")
        if steps is not None and layer.rank:
            return steps.near(layer.rank)
        shares = self.shares.get(layer.scheme or "")
        if shares is None:
            return None
        counted, timed = zip((0.0, 0.0), *shares, strict=True)
        own = float(np.interp(1 - layer.macs / layer.dense_macs, counted, timed))
        return self.total * own * layer.dense_macs / self.macs


def tabulated(timed: Sequence[CutTime], *, macs: int) -> LayerTimes:
    """The table of what was timed on one target; the times of whole networks correct it.

    What layers of one kind save together is shared out evenly. Of a rank timed twice the later
    time counts.
    """
    total = 1e3 * statistics.median(one.dense_seconds for one in timed)
    saved: dict[tuple[str, str], Steps] = {}
    for one in timed:
        if one.kind is None:
            continue
        each = total * (1 - 1 / one.speedup) / len(one.layers)
        for name, (scheme, rank) in one.layers.items():
            known = saved.get((name, scheme), Steps(step=one.step, saved={}))
            saved[name, scheme] = dataclasses.replace(known, step=one.step).also(rank, each)
    whole = [(one.layers, one.speedup) for one in timed if one.kind is None]
    return LayerTimes(total=total, saved=saved, macs=macs).corrected(whole)


# A layer costs something at any rank.
_MORE = 1.01
# What networks save of their time, squared: below it nothing is learnt of a table's scale.
_LEAST_SQUARES = 1e-3
_LEAST_FACTOR = 0.05
