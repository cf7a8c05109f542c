"""A made-up task, whose metric is no share and is better when smaller, goes through everything."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Callable
from typing import get_args

import pytest

from trp_search.errors import InputError, NothingFoundError
from trp_search.records import Point, Score
from trp_search.records.kinds import TaskName
from trp_search.records.objectives import METRICS, OBJECTIVES, Format, Name, Objective
from trp_search.report import contents, drawing, figures, formatting, page, rows
from trp_search.report.frame import frame
from trp_search.report.history import ends
from trp_search.selection import pareto, snapshot
from trp_search.selection.select import choose, select
from trp_search.space import SearchSpace, load_space, read_space
from trp_search.store import RunFolder, append_record
from trp_search.tasks import TASKS

DEPTH = Objective(
    name="error",
    maximise=False,
    worst=1e6,
    read=lambda found: found.metric,
    low=0.0,
    slack=2.0,
    show=Format(digits=2, suffix=" m", gap=" m"),
)
# Points by name: the error, how far it may be off, the speedup.
FOUND = {
    "1": (3.0, 0.1, 1.5),
    "2": (3.1, 0.1, 2.0),
    "3": (4.0, 0.05, 3.0),
    "4": (4.2, 0.05, 2.5),
    "5": (9.0, 0.05, 6.0),
}


def scored(value: float, off: float) -> Score:
    return Score(name="error", value=value, low=value - off, high=value + off, images=50)


@pytest.fixture
def run(
    empty_run: RunFolder, make_point: Callable[..., Point], monkeypatch: pytest.MonkeyPatch
) -> RunFolder:
    """A run of that task, which asks for an error of at most 8 m."""
    monkeypatch.setitem(METRICS, "depth", DEPTH)
    monkeypatch.setitem(OBJECTIVES, "error", DEPTH)

    def space(path: object) -> SearchSpace:
        found = load_space(path)
        workload = copy.copy(found.workload)
        object.__setattr__(workload, "task", "depth")
        told = {"objectives": ("error", "speedup"), "constraints": {"error": 8.0}}
        return found.model_copy(update={"workload": workload, **told})

    for module in (contents, snapshot):
        if hasattr(module, "load_space"):
            monkeypatch.setattr(module, "load_space", space)
    plain = make_point("baseline", correct=1, speedup=1.0, role="baseline", scheme=None)
    points = [dataclasses.replace(plain, score=scored(3.05, 0.05))]
    for name, (value, off, speedup) in FOUND.items():
        made = make_point(name, correct=1, speedup=speedup)
        points.append(dataclasses.replace(made, score=scored(value, off)))
    for point in points:
        append_record(empty_run.points, point)
    return empty_run


def test_a_space_has_its_own_tasks_metric_and_no_other(run: RunFolder, monkeypatch):
    given = load_space(run.search)
    assert given.objectives == ("accuracy", "speedup")
    raw = given.model_dump(mode="json", exclude_none=True, exclude={"objectives", "constraints"})
    monkeypatch.setitem(METRICS, "classification", OBJECTIVES["bytes"])
    monkeypatch.setitem(METRICS, "other", OBJECTIVES["accuracy"])
    assert read_space(copy.deepcopy(raw), run.search).objectives == ("bytes", "speedup")
    rungs = {"rungs": {"by": ["accuracy"]}}
    for asked in ({"objectives": ["accuracy"]}, {"constraints": {"accuracy": 0.5}}, rungs):
        ((where, _),) = asked.items()
        with pytest.raises(
            InputError, match=rf"{where}.*: accuracy is no metric of classif.* bytes"
        ):
            read_space(copy.deepcopy(raw | asked), run.search)


def test_the_front_is_of_small_errors(run: RunFolder):
    found = rows.build(contents.read(run))
    assert [row.point.id for row in found.front] == ["1", "2", "3"]
    assert found.derived == ()
    assert {row.point.id: row.violations for row in found.trials if row.violations} == {
        "5": {"error": pytest.approx(1.0)}
    }
    assert [row.point.id for row in rows.staircase(found.front)] == ["1", "2", "3"]
    assert rows.distinct(found.front) == {"2", "3"}  # 1 is better than 2 by chance, maybe


def test_chances_are_read_from_the_intervals(run: RunFolder):
    good, bad = scored(3.0, 0.1), scored(3.2, 0.1)
    assert good.beyond(bad)
    assert not bad.beyond(good)
    assert not scored(3.1, 0.1).beyond(bad)


def test_a_budget_is_met_with_the_least_error(run: RunFolder):
    choice = select(run, speedup=2.0)
    assert (choice.point.id, choice.larger.id, choice.smaller.id) == ("2", "1", "3")
    assert choice.drop == pytest.approx(0.05)
    assert choose(run, formatting_budget(max_drop=1.0)).point.id == "3"
    with pytest.raises(NothingFoundError, match=r"reaches 9x .* '3' at 3\.00x, 4\.00 m on valid"):
        select(run, speedup=9.0)
    with pytest.raises(InputError, match="max_drop: -1 is not at least 0"):
        select(run, max_drop=-1.0)


def formatting_budget(**limit: float):
    from trp_search.selection.budgets import Budget  # noqa: PLC0415

    return Budget(**limit)


def test_what_is_lost_is_told_with_the_sign_of_the_value(run: RunFolder):
    read = contents.read(run)
    found = rows.build(read)
    said = formatting.headline(found, ends(read.results, read.numbers))
    assert said.startswith("At 2.00")
    assert said.endswith(": 3.10 m on validation, 0.05 m above the baseline.")
    facts = dict(formatting.facts(found.front[1]))
    assert facts["validation error"] == "3.10 m (50 images)"
    assert facts["95 % interval"] == "3.00 to 3.20 m"
    assert facts["against baseline"] == "+0.05 m"
    worst = next(row for row in found.trials if row.violations)
    assert dict(formatting.facts(worst))["constraint on error"] == "missed by 1.00 m"


def test_the_page_and_the_table_have_it(run: RunFolder):
    read = contents.read(run)
    found = rows.build(read)
    window = rows.window(found)
    assert window.metric[0] > 4.2 > 3.0 > window.metric[1], "better is up"
    assert window.outside == 1
    drawn = json.loads(figures.tradeoff(found, window))["layout"]
    assert drawn["yaxis"]["range"] == list(drawing.upright(DEPTH, window.metric)["range"])
    assert drawn["yaxis"]["ticksuffix"] == " m"
    text = page.render(read)
    assert "Error against speedup" in text
    assert "ccuracy" not in text.partition("<script")[0].replace("{accuracy: 0.5}", "")
    table = frame(found.all(), {}, DEPTH)
    assert list(table["validation_error"]) == [3.05, *(value for value, _, _ in FOUND.values())]


def test_the_hypervolume_counts_from_behind_the_baseline(run: RunFolder):
    points = run.read_points()
    baseline, *rest = points
    volume = pareto.covered(rest, [DEPTH, OBJECTIVES["speedup"]], baseline=baseline)
    corner = 3.05 + 2.0
    steps = [(3.0, 1.5), (3.1, 2.0), (4.0, 3.0)]
    expected, last = 0.0, 1.0
    for error, speedup in steps:
        expected += (corner - error) * (speedup - last)
        last = speedup
    assert volume == pytest.approx(expected)


def test_every_task_has_a_metric_and_every_metric_a_name():
    assert TASKS.keys() == METRICS.keys() == set(get_args(TaskName))
    assert OBJECTIVES.keys() == set(get_args(Name))
