"""The run folder and a trial's: where each file is, and what it holds."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from trp_search.errors import InputError
from trp_search.records import (
    EpochReport,
    Latency,
    Point,
    Repeat,
    TestScore,
    TrialResult,
    TrialSpec,
)
from trp_search.store.files import append_record, read_record, read_records


@dataclass(frozen=True, kw_only=True)
class TrialFolder:
    """One training's files."""

    path: Path

    @property
    def spec(self) -> Path:
        return self.path / "spec.json"

    @property
    def epochs(self) -> Path:
        return self.path / "epochs.jsonl"

    @property
    def checkpoint(self) -> Path:
        return self.path / "checkpoint.safetensors"

    @property
    def tuning(self) -> Path:
        """The checkpoint of what follows the cut."""
        return self.path / "tuning.safetensors"

    @property
    def weights(self) -> Path:
        """The trained, uncut weights."""
        return self.path / "weights.safetensors"

    @property
    def result(self) -> Path:
        return self.path / "result.json"

    def point_weights(self, point_id: str) -> Path:
        """The weights of one cut network."""
        return self.path / f"point-{point_id}.safetensors"

    def read_spec(self) -> TrialSpec:
        """What the trial was; raises InputError when that cannot be read."""
        spec = read_record(self.spec, TrialSpec, what="not a trial's settings")
        if spec is None:
            raise InputError(f"{self.spec}: cannot be read: {os.strerror(errno.ENOENT)}")
        return spec

    def read_result(self) -> TrialResult | None:
        """How the trial ended, or None while it has not; InputError when that cannot be read."""
        return read_record(self.result, TrialResult, what="is not a trial's result")

    def read_epochs(self) -> list[EpochReport]:
        """One report per epoch; of an epoch that ran twice (resumed), the second."""
        reports = read_records(self.epochs, EpochReport)
        return sorted({report.epoch: report for report in reports}.values(), key=lambda r: r.epoch)


@dataclass(frozen=True, kw_only=True)
class RunFolder:
    """A search on disk: see the module's paths; everything a search knows is here."""

    path: Path

    @staticmethod
    def create(path: Path) -> RunFolder:
        """A new run at `path`; an existing folder with anything but a lock in it is refused."""
        if path.exists() and (
            not path.is_dir() or any(entry != path / ".lock" for entry in path.iterdir())
        ):
            raise InputError(
                f"{path}: already holds something; give a new or empty folder, or resume"
            )
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{path}: cannot be created: {error.strerror}") from None
        return RunFolder(path=path.resolve())

    @staticmethod
    def open(path: Path) -> RunFolder:
        """The run at `path`; raises InputError when there is none."""
        run = RunFolder(path=path.resolve())
        if not path.is_dir():
            raise InputError(f"{path}: no such run folder")
        if not run.search.is_file():
            raise InputError(f"{path}: not a run folder (it has no {run.search.name})")
        return run

    @property
    def search(self) -> Path:
        return self.path / "search.yaml"

    @property
    def environment(self) -> Path:
        return self.path / "environment.json"

    @property
    def study(self) -> Path:
        return self.path / "study.db"

    @property
    def points(self) -> Path:
        return self.path / "points.jsonl"

    @property
    def tests(self) -> Path:
        return self.path / "test.jsonl"

    @property
    def latencies(self) -> Path:
        return self.path / "latency.jsonl"

    @property
    def repeats(self) -> Path:
        """What the front's trainings came to with other seeds."""
        return self.path / "repeats.jsonl"

    @property
    def judged(self) -> Path:
        """What running trials were worth at rungs, in the order in which they came there."""
        return self.path / "rungs.jsonl"

    @property
    def importance(self) -> Path:
        """How much each setting explains of each objective."""
        return self.path / "importance.json"

    @property
    def front(self) -> Path:
        return self.path / "front.csv"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    @property
    def split(self) -> Path:
        """Which images are train, validation and test."""
        return self.path / "split.json"

    @property
    def models(self) -> Path:
        return self.path / "models"

    @property
    def lock(self) -> Path:
        return self.path / ".lock"

    def weights(self, point: Point) -> Path:
        """The weights of a point, where they were kept."""
        place = self.trial(point.trial)
        return place.weights if point.cut is None else place.point_weights(point.id)

    def trial(self, name: str) -> TrialFolder:
        return TrialFolder(path=self.path / "trials" / name)

    def trial_names(self) -> list[str]:
        """Every trial that was started, `baseline` first, then by number."""
        folder = self.path / "trials"
        names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []

        def key(name: str) -> tuple[int, int, str]:
            number = name.partition("r")[0]
            return (1, int(number), name) if number.isdigit() else (0, 0, name)

        return sorted(names, key=key)

    def read_points(self) -> list[Point]:
        """Every scored point, in the order of scoring, each id once."""
        return list({point.id: point for point in read_records(self.points, Point)}.values())

    def read_tests(self) -> dict[str, TestScore]:
        return {score.point: score for score in read_records(self.tests, TestScore)}

    def read_judged(self) -> list[EpochReport]:
        """In the order in which they were judged."""
        return read_records(self.judged, EpochReport)

    def read_latencies(self) -> dict[str, dict[str, Latency]]:
        """By the target's name, then by point; what was measured again counts last."""
        found: dict[str, dict[str, Latency]] = {}
        for latency in read_records(self.latencies, Latency):
            found.setdefault(latency.target.name, {})[latency.point] = latency
        return found

    def read_repeats(self) -> dict[str, list[Repeat]]:
        """By point, each seed once."""
        found: dict[str, dict[str, Repeat]] = {}
        for repeat in read_records(self.repeats, Repeat):
            found.setdefault(repeat.point, {})[repeat.trial] = repeat
        return {point: list(repeats.values()) for point, repeats in found.items()}

    def add_points(self, points: Iterable[Point]) -> None:
        """Appends the points whose ids the run does not have yet."""
        known = {point.id for point in self.read_points()}
        for point in points:
            if point.id not in known:
                append_record(self.points, point)

    def point(self, point_id: str) -> Point:
        """The point with this id; raises InputError that names those there are."""
        points = {point.id: point for point in self.read_points()}
        if point_id not in points:
            known = ", ".join(list(points)[:8]) or "none"
            raise InputError(f"{self.path}: no point {point_id!r}; there are {known}")
        return points[point_id]
