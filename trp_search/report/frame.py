"""Points as a table for pandas."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pandas as pd

from trp_search.report import contents, rows
from trp_search.report.rows import Row
from trp_search.store import RunFolder


def points(run: RunFolder) -> pd.DataFrame:
    """Every scored point of `run`, in the order of scoring, one a row.

    Accuracies are shares; `test_accuracy` is missing where test images were not scored; `front`
    says whether no other trial is better in every objective. Settings are columns of their own,
    named `setting.*`. Raises InputError for a folder that cannot be read.
    """
    return frame(rows.build(contents.read(run)).all())


def frame(chosen: Iterable[Row]) -> pd.DataFrame:
    """The rows, measures first, then what was set."""
    chosen = list(chosen)
    measures = [{name: read(row) for name, read in _MEASURES.items()} for row in chosen]
    settings = [{f"setting.{k}": v for k, v in row.point.settings.items()} for row in chosen]
    columns = [*_MEASURES, *dict.fromkeys(name for one in settings for name in one)]
    return pd.DataFrame(
        [one | other for one, other in zip(measures, settings, strict=True)], columns=columns
    )


_MEASURES: dict[str, Callable[[Row], object]] = {
    "point": lambda row: row.point.id,
    "trial": lambda row: row.point.trial,
    "role": lambda row: row.point.role,
    "front": lambda row: row.on_front,
    "scheme": lambda row: row.scheme,
    "speedup": lambda row: row.point.speedup,
    "validation_accuracy": lambda row: row.point.accuracy,
    "validation_drop": lambda row: row.drop,
    "test_accuracy": lambda row: row.test.accuracy if row.test else None,
    "macs": lambda row: row.point.macs,
    "dense_macs": lambda row: row.point.dense_macs,
    "parameters": lambda row: row.point.parameters,
    "dense_parameters": lambda row: row.point.dense_parameters,
    "seconds": lambda row: row.point.seconds,
}
