from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import pytest

from trp_search.records import Point
from trp_search.report import contents, rows
from trp_search.report.rows import Row
from trp_search.report.settings import Told, label, panels, varied
from trp_search.store import RunFolder


@pytest.fixture
def trials(
    empty_run: RunFolder, make_point: Callable[..., Point]
) -> Callable[[Sequence[dict[str, Told]]], tuple[Row, ...]]:
    blank = contents.read(empty_run)

    def build(settings: Sequence[dict[str, Told]]) -> tuple[Row, ...]:
        points = tuple(
            make_point(f"{n}", correct=100 + n, speedup=2.0, settings=each)
            for n, each in enumerate(settings)
        )
        return rows.build(dataclasses.replace(blank, points=points)).trials

    return build


def test_only_settings_that_vary_have_a_panel_and_a_seed_is_none(trials: Callable):
    found = trials([{"energy": 0.9 + n / 100, "momentum": 0.9, "seed": n} for n in range(5)])
    assert varied(found) == ("energy",)
    assert [panel.names for panel in panels(found)] == [("energy",)]


def test_settings_that_always_agree_share_a_panel(trials: Callable):
    found = trials([{"energy": e, "rate": 2 * e, "cut_energy": e} for e in (0.8, 0.9, 0.95)])
    assert [panel.names for panel in panels(found)] == [("energy", "cut_energy"), ("rate",)]


def test_numbers_keep_their_place_on_a_straight_axis(trials: Callable):
    (panel,) = panels(trials([{"energy": e} for e in (0.9, 0.8, 0.95)]))
    assert (panel.kind, panel.positions, panel.labels) == ("linear", (0.9, 0.8, 0.95), ())


def test_numbers_over_decades_get_a_logarithmic_axis(trials: Callable):
    (panel,) = panels(trials([{"rate": rate} for rate in (1e-5, 1e-3, 1e-1)]))
    assert panel.kind == "log"


def test_a_zero_among_decades_keeps_the_axis_straight(trials: Callable):
    (panel,) = panels(trials([{"rate": rate} for rate in (0.0, 1e-3, 1e-1)]))
    assert panel.kind == "linear"


def test_few_values_tried_again_and_again_are_categories_in_rising_order(trials: Callable):
    (panel,) = panels(trials([{"period": p} for p in (20, 5, 20, 5, "never", "never")]))
    assert (panel.kind, panel.labels) == ("category", ("5", "20", "never"))
    assert panel.positions == (1, 0, 1, 0, 2, 2)


def test_switches_and_missing_values_are_named(trials: Callable):
    (panel,) = panels(trials([{"nesterov": v} for v in (True, False, None)]))
    assert (panel.kind, panel.labels) == ("category", ("no", "none", "yes"))


def test_a_setting_that_only_some_trials_have_is_drawn_for_those(trials: Callable):
    found = trials([{"a": 1.0}, {"b": 1.0}, {"a": 2.0}])
    (panel,) = panels(found)
    assert [row.point.id for row in panel.rows] == ["0", "2"]
    assert panel.positions == (1.0, 2.0)


def test_labels_are_short():
    assert [label(v) for v in (0.123456, 20, None, True, "never")] == [
        "0.1235",
        "20",
        "none",
        "yes",
        "never",
    ]
