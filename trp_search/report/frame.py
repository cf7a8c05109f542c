"""Points as a table for pandas."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import pandas as pd

from trp_search.records import Latency
from trp_search.records.objectives import Objective
from trp_search.report import contents, rows
from trp_search.report.rows import Row
from trp_search.store import RunFolder

Latencies = Mapping[str, Mapping[str, Latency]]


def points(run: RunFolder | Path | str) -> pd.DataFrame:
    """Every scored point of `run`, in the order of scoring, one per row.

    >>> from trp_search import points
    >>> table = points("results/digits")
    >>> sorted(table["speedup"][table["front"]].round(2))
    [1.5, 1.63, 12.65, 15.48, 15.48]

    Scores are named by the task's metric, as `test_accuracy`, which is a share; those on test are
    missing where test images were not scored; `front` is
    whether the point is non-dominated among trials. `latency_speedup.NAME` is the baseline's time
    over the point's on the target NAME, `latency_low.NAME` and `latency_high.NAME` the ends of its
    95 % interval, `predicted_speedup.NAME` what the search predicted.
    Settings are columns named `setting.*`.

    Raises:
        InputError: a folder that cannot be read.
    """
    found = contents.read(run if isinstance(run, RunFolder) else RunFolder.open(Path(run)))
    return frame(rows.build(found).all(), found.latencies, found.metric)


def frame(chosen: Iterable[Row], latencies: Latencies, metric: Objective) -> pd.DataFrame:
    """The rows as a table: measures, then times by target, then settings."""
    chosen, measured = list(chosen), _measures(metric)
    measures = [{name: read(row) for name, read in measured.items()} for row in chosen]
    further = [
        _timed(row, latencies) | {f"setting.{k}": v for k, v in row.point.settings.items()}
        for row in chosen
    ]
    names = dict.fromkeys(name for one in further for name in one)
    columns = [*measured, *sorted(names, key=lambda name: name.startswith("setting."))]
    return pd.DataFrame(
        [one | other for one, other in zip(measures, further, strict=True)], columns=columns
    )


def _timed(row: Row, latencies: Latencies) -> dict[str, object]:
    told = row.point.predicted
    predicted: dict[str, object] = (
        {f"predicted_speedup.{told.target}": told.speedup} if told else {}
    )
    found = {
        name: known[row.point.id] for name, known in latencies.items() if row.point.id in known
    }
    return predicted | {
        f"latency_{what}.{name}": value
        for name, one in found.items()
        for what, value in (("speedup", one.speedup), ("low", one.low), ("high", one.high))
    }


def _measures(metric: Objective) -> dict[str, Callable[[Row], object]]:
    return {
        "point": lambda row: row.point.id,
        "trial": lambda row: row.point.trial,
        "role": lambda row: row.point.role,
        "front": lambda row: row.on_front,
        "scheme": lambda row: row.style.label,
        "speedup": lambda row: row.point.speedup,
        f"validation_{metric.name}": lambda row: row.point.metric,
        "validation_drop": lambda row: row.drop,
        f"test_{metric.name}": lambda row: row.test.score.value if row.test else None,
        "macs": lambda row: row.point.macs,
        "dense_macs": lambda row: row.point.dense_macs,
        "parameters": lambda row: row.point.parameters,
        "dense_parameters": lambda row: row.point.dense_parameters,
        "bytes": lambda row: row.point.bytes,
        "dense_bytes": lambda row: row.point.dense_bytes,
        "seconds": lambda row: row.point.seconds,
    }
