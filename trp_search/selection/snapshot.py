"""A run as it was read, so that choosing, exporting and showing agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from trp_search.records import Latency, Point, Repeat, TestScore
from trp_search.selection.pareto import contenders
from trp_search.space import SearchSpace, load_space
from trp_search.store import RunFolder


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """Reads each file of a run once, when it is first needed."""

    folder: RunFolder

    @staticmethod
    def of(run: Snapshot | RunFolder | Path | str) -> Snapshot:
        """The run's snapshot, new unless `run` is one; raises InputError if there is no run."""
        if isinstance(run, Snapshot):
            return run
        return Snapshot(folder=run if isinstance(run, RunFolder) else RunFolder.open(Path(run)))

    @cached_property
    def space(self) -> SearchSpace:
        """Its search space."""
        return load_space(self.folder.search)

    @cached_property
    def points(self) -> tuple[Point, ...]:
        """Every scored point, in the order of scoring."""
        return tuple(self.folder.read_all_points())

    @cached_property
    def tests(self) -> Mapping[str, TestScore]:
        """By point."""
        return self.folder.read_tests()

    @cached_property
    def latencies(self) -> Mapping[str, Mapping[str, Latency]]:
        """By the target's name, then by point."""
        return self.folder.read_latencies()

    @cached_property
    def repeats(self) -> Mapping[str, Sequence[Repeat]]:
        """By point, its training repeated with other seeds."""
        return self.folder.read_repeats()

    @property
    def baseline(self) -> Point | None:
        """The baseline, if it was scored."""
        return next((point for point in self.points if point.role == "baseline"), None)

    @cached_property
    def kept(self) -> frozenset[str]:
        """Ids of the points whose weights are kept."""
        return frozenset(p.id for p in self.points if self.folder.weights(p).exists())

    @cached_property
    def contenders(self) -> tuple[Point, ...]:
        """The points that a front is chosen among."""
        return contenders(self.points, self.folder.read_numbers())

    def point(self, point_id: str) -> Point:
        """The point with this id; raises InputError that lists the known ids."""
        return self.folder.point(point_id, among=self.points)
