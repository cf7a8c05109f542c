"""The input of a report: everything it needs, read from one run folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from trp_search.records import (
    EpochReport,
    Importance,
    Latency,
    Point,
    Repeat,
    TestScore,
    TrialResult,
    Workload,
    published,
)
from trp_search.records.objectives import Objective
from trp_search.records.published import Published
from trp_search.selection.pareto import contenders
from trp_search.selection.snapshot import Snapshot
from trp_search.store import RunFolder

_IMAGENET_CLASSES = 1000


@dataclass(frozen=True, kw_only=True)
class Contents:
    """A run folder as values.

    Attributes:
        name: the folder's name.
        metric: what the run's task scores networks by.
        published: published results for this network and data.
        location: the folder's path from the current folder.
        kept: ids of the points whose weights are kept.
        latencies: by the target's name, then by point.
        repeats: by point, its training repeated with other seeds.
        violations: by point id, how far a point is from each constraint that it misses.
        results: by trial name; None for a trial that has started and not ended.
        numbers: of the search's own trials, by name.
        importance: by objective, the share that each setting explains; None before the search
            ended.
        environment: versions, devices, seeds; empty if the run did not record them.
        search: the resolved search space, as YAML.
    """

    name: str
    location: str
    network: str
    data: str
    published: tuple[Published, ...]
    metric: Objective
    objectives: tuple[Objective, ...]
    points: tuple[Point, ...]
    violations: Mapping[str, Mapping[str, float]]
    tests: Mapping[str, TestScore]
    kept: frozenset[str]
    latencies: Mapping[str, Mapping[str, Latency]]
    repeats: Mapping[str, Sequence[Repeat]]
    results: Mapping[str, TrialResult | None]
    numbers: Mapping[str, int]
    epochs: Mapping[str, tuple[EpochReport, ...]]
    importance: Importance | None
    environment: Mapping[str, Any]
    search: str

    @cached_property
    def contenders(self) -> frozenset[str]:
        """Ids of the points that the front is chosen among."""
        return frozenset(p.id for p in contenders(self.points, self.numbers))


def read(run: RunFolder) -> Contents:
    """Reads a run; raises InputError that names a file which cannot be read."""
    found, names = Snapshot.of(run), run.trial_names()
    space, points = found.space, found.points
    return Contents(
        name=run.path.name,
        location=_location(run.path),
        network=space.workload.network.name,
        data=space.workload.data.name,
        published=_published(space.workload),
        metric=space.metric,
        objectives=space.objective_list,
        points=points,
        violations={
            point.id: missed for point in points if (missed := _missed(space.violations(point)))
        },
        tests=found.tests,
        kept=found.kept,
        latencies=found.latencies,
        repeats=found.repeats,
        results={name: run.trial(name).read_result() for name in names},
        numbers=run.read_numbers(),
        epochs={name: tuple(run.trial(name).read_epochs()) for name in names},
        importance=run.read_importance(),
        environment=run.read_environment().root,
        search=run.search.read_text(encoding="utf-8"),
    )


def _published(workload: Workload) -> tuple[Published, ...]:
    """Published results for the run's network and data."""
    if workload.task != published.TASK:
        return ()
    many = workload.data.classes == _IMAGENET_CLASSES
    data = "imagenet" if workload.data.name == "images" and many else workload.data.name
    return tuple(published.rows(workload.network.name, data))


def _missed(violations: Mapping[str, float]) -> dict[str, float]:
    return {name: by for name, by in violations.items() if by > 0}


def _location(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) and path != here else str(path)
