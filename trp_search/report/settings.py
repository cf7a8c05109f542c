"""Effects of the settings: each one that varied, ready to be drawn against the objectives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeGuard

from trp_search.report.rows import Row

Told = float | int | str | bool | None

FEW = 8
DECADES = 50


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One setting that varied, or several that varied together.

    Attributes:
        names: the settings' names.
        kind: `category` if only a few values were tried; they are named in `labels` and
            `positions` counts them from 0.
        rows: the points that have this setting, one per position.
    """

    names: tuple[str, ...]
    kind: Literal["linear", "log", "category"]
    labels: tuple[str, ...]
    positions: tuple[float, ...]
    rows: tuple[Row, ...]


def varied(rows: Sequence[Row]) -> tuple[str, ...]:
    """Settings with at least two values among `rows`, in their own order; a seed is no setting."""
    values: dict[str, set[Told]] = {}
    for row in rows:
        for name, value in row.point.settings.items():
            values.setdefault(name, set()).add(value)
    return tuple(name for name, found in values.items() if len(found) > 1 and name != "seed")


def panels(rows: Sequence[Row]) -> tuple[Panel, ...]:
    """A panel per setting that varied; settings that varied together share one."""
    together: dict[tuple[tuple[str, Told], ...], list[str]] = {}
    for name in varied(rows):
        having = [row.point for row in rows if name in row.point.settings]
        column = tuple((point.id, point.settings[name]) for point in having)
        together.setdefault(column, []).append(name)
    return tuple(_panel(tuple(names), rows) for names in together.values())


def _panel(names: tuple[str, ...], all_rows: Sequence[Row]) -> Panel:
    rows = tuple(row for row in all_rows if names[0] in row.point.settings)
    values = [row.point.settings[names[0]] for row in rows]
    distinct = sorted(set(values), key=_order)
    numbers = [float(value) for value in values if isinstance(value, int | float)]
    few = len(distinct) <= FEW and 2 * len(distinct) <= len(values)
    if few or not all(_is_number(value) for value in values):
        return Panel(
            names=names,
            kind="category",
            labels=tuple(label(value) for value in distinct),
            positions=tuple(float(distinct.index(value)) for value in values),
            rows=rows,
        )
    low, high = min(numbers), max(numbers)
    wide = low > 0 and high / low >= DECADES
    return Panel(
        names=names,
        kind="log" if wide else "linear",
        labels=(),
        positions=tuple(numbers),
        rows=rows,
    )


def _is_number(value: Told) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _order(value: Told) -> tuple[bool, float, str]:
    return (False, float(value), "") if _is_number(value) else (True, 0.0, label(value))


def label(value: Told) -> str:
    """The value as a person writes it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
