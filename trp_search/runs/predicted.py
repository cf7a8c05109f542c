"""The time of each network of a search, by a table that was measured before its first trial."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from trp_search.lowrank.times import LayerTimes, Steps
from trp_search.records import (
    Layer,
    LayerSaves,
    LayerScheme,
    Precision,
    Prediction,
    QuantizerName,
    Target,
    TimeTable,
)
from trp_search.runtimes.machine import device_name
from trp_search.runtimes.serving import runtime
from trp_search.scoring.points import Predict
from trp_search.store import RunFolder

_LEAST = 0.01  # of the dense time: what layers save does not add up to all of it


def predicting(folder: RunFolder, precision: Precision = "float32") -> Predict:
    """What tells a network's time by the run's table; None where that does not tell it."""
    baseline, table = folder.read_times(), folder.read_times(precision)
    if baseline is None or table is None:
        return lambda _: None
    times = _times(table)

    def predict(layers: Sequence[Layer]) -> Prediction | None:
        found = times.milliseconds(layers)
        if found is None:
            return None
        return Prediction(
            target=table.target.name,
            milliseconds=max(found, _LEAST * times.total),
            dense_milliseconds=baseline.milliseconds,
        )

    return predict


def predicted_int8(
    folder: RunFolder, layers: Sequence[Layer], runtime: QuantizerName
) -> Prediction | None:
    """The time of a network in int8 for a runtime, if the run's table is of that."""
    table = folder.read_times("int8")
    if table is None or table.target.runtime != runtime:
        return None
    return predicting(folder, "int8")(layers)


def table_of(times: LayerTimes, target: Target, *, precision: Precision = "float32") -> TimeTable:
    """`times`, as they were measured here, as a record."""
    return TimeTable(
        target=target,
        milliseconds=times.total,
        macs=times.macs,
        layers=tuple(
            LayerSaves(
                layer=name,
                scheme=cast("LayerScheme", scheme),
                step=steps.step,
                saved=dict(steps.saved),
                between=dict(steps.between),
            )
            for (name, scheme), steps in times.saved.items()
        ),
        shares=cast("Any", {name: tuple(shares) for name, shares in times.shares.items()}),
        machine=device_name(target.device),
        versions=runtime(target.runtime).versions(),
        precision=precision,
    )


def table_in(folder: RunFolder) -> LayerTimes | None:
    """The run's table; it does not change in a run."""
    table = folder.read_times()
    return None if table is None else _times(table)


def _times(table: TimeTable) -> LayerTimes:
    saved: dict[tuple[str, str], Steps] = {
        (one.layer, one.scheme): Steps(step=one.step, saved=one.saved, between=one.between)
        for one in table.layers
    }
    shares: Any = table.shares
    return LayerTimes(total=table.milliseconds, saved=saved, macs=table.macs, shares=shares)
