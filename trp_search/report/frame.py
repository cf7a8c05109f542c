"""Points as a table for pandas."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import pandas as pd

from trp_search.records import Latency
from trp_search.report import contents, rows
from trp_search.report.rows import Row
from trp_search.store import RunFolder

Latencies = Mapping[str, Mapping[str, Latency]]


def points(run: RunFolder) -> pd.DataFrame:
    """Every scored point of `run`, in the order of scoring, one a row.

    Accuracies are shares; `test_accuracy` is missing where test images were not scored; `front`
    says whether no other trial is better in every objective. `latency_speedup.NAME` is how many
    times less than the dense network a point takes on the target NAME, `latency_low.NAME` the lower
    end of its 95 % interval. Settings are columns of their own, named `setting.*`.

    Raises:
        InputError: a folder that cannot be read.
    """
    found = contents.read(run)
    return frame(rows.build(found).all(), found.latencies)


def frame(chosen: Iterable[Row], latencies: Latencies) -> pd.DataFrame:
    """The rows: measures first, then times, by target and point, then what was set."""
    chosen = list(chosen)
    measures = [{name: read(row) for name, read in _MEASURES.items()} for row in chosen]
    further = [
        _timed(row, latencies) | {f"setting.{k}": v for k, v in row.point.settings.items()}
        for row in chosen
    ]
    names = dict.fromkeys(name for one in further for name in one)
    columns = [*_MEASURES, *sorted(names, key=lambda name: name.startswith("setting."))]
    return pd.DataFrame(
        [one | other for one, other in zip(measures, further, strict=True)], columns=columns
    )


def _timed(row: Row, latencies: Latencies) -> dict[str, object]:
    found = {
        name: known[row.point.id] for name, known in latencies.items() if row.point.id in known
    }
    return {
        f"latency_{what}.{name}": value
        for name, one in found.items()
        for what, value in (("speedup", one.speedup), ("low", one.low))
    }


_MEASURES: dict[str, Callable[[Row], object]] = {
    "point": lambda row: row.point.id,
    "trial": lambda row: row.point.trial,
    "role": lambda row: row.point.role,
    "front": lambda row: row.on_front,
    "scheme": lambda row: row.scheme,
    "speedup": lambda row: row.point.speedup,
    "validation_accuracy": lambda row: row.point.score.value,
    "validation_drop": lambda row: row.drop,
    "test_accuracy": lambda row: row.test.score.value if row.test else None,
    "macs": lambda row: row.point.macs,
    "dense_macs": lambda row: row.point.dense_macs,
    "parameters": lambda row: row.point.parameters,
    "dense_parameters": lambda row: row.point.dense_parameters,
    "seconds": lambda row: row.point.seconds,
}
