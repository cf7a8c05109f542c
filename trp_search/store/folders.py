"""The run folder: where each of its files is, and what it holds."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from trp_search.errors import InputError
from trp_search.records import (
    BASELINE,
    SUFFIXES,
    CutTime,
    Environment,
    EpochReport,
    Importance,
    Latency,
    Point,
    Precision,
    Repeat,
    Split,
    TestScore,
    TimeTable,
)
from trp_search.store.files import append_record, read_record, read_records
from trp_search.store.inside import File, inside, named
from trp_search.store.trial import TrialFolder

_NAMED = 8  # points in a refusal
FORMAT = 2  # of a run's files; version 0.1.0 wrote none


@dataclass(frozen=True, kw_only=True)
class RunFolder:
    """A search on disk: its whole state."""

    path: Path

    search = File("search.yaml")
    environment = File("environment.json")
    given = File("given.safetensors")  # the weights of a live network that a search was begun with
    points = File("points.jsonl")
    int8 = File("int8.jsonl")  # other points' networks, quantised after the search
    tests = File("test.jsonl")
    latencies = File("latency.jsonl")
    cut_times = File("cut_times.jsonl")  # of the baseline with some layers in factors
    times = File("times.json")  # of layers, which the search predicts from
    repeats = File("repeats.jsonl")  # of the front's trainings with other seeds
    judged = File("rungs.jsonl")  # reports of running trials at rungs, as they arrived
    importance = File("importance.json")  # the share of variance that each setting explains
    front = File("front.csv")
    report = File("report.html")
    split = File("split.json")  # which images are train, validation and test
    models = File("models")
    lock = File(".lock")
    test_lock = File(".test.lock")  # held while a test score is written
    scratch = File(".ray")  # what Ray writes while a search runs

    @staticmethod
    def create(path: Path) -> RunFolder:
        """A new run at `path`; an existing folder that holds anything is refused.

        But for a lock and layers' times, which a search leaves that was killed before its start.
        """
        left = {".lock", "cut_times.jsonl"}
        if path.exists() and (
            not path.is_dir() or any(entry.name not in left for entry in path.iterdir())
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
    def open(path: Path | str) -> RunFolder:
        """The run at `path`; raises InputError if there is none."""
        path = Path(path)
        run = RunFolder(path=path.resolve())
        if not path.is_dir():
            raise InputError(f"{path}: no such run folder")
        if not run.search.is_file():
            raise InputError(f"{path}: not a run folder (it has no {run.search.name})")
        made = run.read_environment()
        if made.format != FORMAT:
            raise InputError(
                f"{path}: is a run of trp_search {made.version}; that version reads it"
            )
        return run

    @property
    def study(self) -> Path:
        for beside in ("-journal", "-wal", "-shm"):  # SQLite writes these too
            inside(self.path, f"study.db{beside}")
        return inside(self.path, "study.db")

    def times_in(self, precision: Precision) -> Path:
        """The layers' times that the search predicts from, in this precision."""
        return self.times if precision == "float32" else inside(self.path, "times-int8.json")

    def weights(self, point: Point) -> Path:
        """The weights of a point, if they were kept; of an int8 one its network's file."""
        place = self.trial(point.trial)
        if point.int8 is not None:
            if point.int8.runtime == "openvino":
                place.point_weights(point.id, ".bin")  # beside it, and no link either
            return place.point_weights(point.id, SUFFIXES[point.int8.runtime])
        return place.weights if point.cut is None else place.point_weights(point.id)

    def trial(self, name: str) -> TrialFolder:
        """The files of the trial of this name; raises InputError for an invalid name."""
        place = inside(self.path, "trials", named("trial", name, of=self.path))
        return TrialFolder(path=place, search=self.search)

    def trial_names(self) -> list[str]:
        """Every training that was begun; numbers in names count as such, and come last.

        Raises:
            InputError: a folder has a name that no trial can have.
        """
        folder = inside(self.path, "trials")
        entries = list(folder.iterdir()) if folder.is_dir() else []
        # Hidden entries and plain files are a file manager's.
        kept = [entry.name for entry in entries if entry.is_dir() and entry.name[0] != "."]

        def key(name: str) -> tuple[bool, list[str | int]]:
            parts = re.split("([0-9]+)", named("trial", name, of=folder))
            return not parts[0], [
                int(part) if part.isascii() and part.isdecimal() else part for part in parts
            ]

        return sorted(kept, key=key)

    def read_numbers(self) -> dict[str, int]:
        """The search's own trials by name, with the number that each has in the study."""
        places = (self.trial(name) for name in self.trial_names())
        specs = (place.read_spec() for place in places if place.spec.exists())
        return {s.name: s.number for s in specs if s.kind == "search" and s.number is not None}

    def read_points(self) -> list[Point]:
        """Every point that the run scored, in the order of scoring, each id once.

        In int8 are those of trials that asked for it.

        Raises:
            InputError: a record that cannot be, or whose baseline costs something else.
        """
        points = list({point.id: point for point in read_records(self.points, Point)}.values())
        self._check_dense(self.points, points, points[:1])
        self._check_float(self.points, points, {point.id for point in points})
        return points

    def read_all_points(self) -> list[Point]:
        """As `read_points`, and then those that were quantised afterwards."""
        points = self.read_points()
        known = {point.id for point in points}
        found = {point.id: point for point in read_records(self.int8, Point)}
        for point in found.values():
            if point.int8 is None or point.id in known:
                raise InputError(f"{self.int8}: point {point.id!r} is not another point in int8")
        self._check_dense(self.int8, found.values(), points[:1])
        self._check_float(self.int8, found.values(), known)
        return [*points, *found.values()]

    def _check_float(self, file: Path, points: Iterable[Point], known: Collection[str]) -> None:
        for point in points:
            if point.int8 is not None and point.int8.of not in known:
                raise InputError(f"{file}: point {point.id!r} is not another point in int8")

    def _check_dense(self, file: Path, points: Iterable[Point], first: Sequence[Point]) -> None:
        for point in points:
            for name in ("dense_macs", "dense_parameters", "dense_bytes"):
                own, other = getattr(point, name), getattr(first[0], name)
                if own != other:
                    raise InputError(
                        f"{file}: point {point.id!r}: {name}: {own:,} is not the "
                        f"{other:,} of {first[0].id!r}"
                    )

    def read_tests(self) -> dict[str, TestScore]:
        return {score.point: score for score in read_records(self.tests, TestScore)}

    def read_judged(self) -> list[EpochReport]:
        """In the order in which they were judged."""
        return read_records(self.judged, EpochReport)

    def read_latencies(self) -> dict[str, dict[str, Latency]]:
        """By the target's name, then by point; the last measurement counts."""
        found: dict[str, dict[str, Latency]] = {}
        for latency in read_records(self.latencies, Latency):
            found.setdefault(latency.target.name, {})[latency.point] = latency
        return found

    def read_cut_times(self) -> list[CutTime]:
        """In the order in which they were measured."""
        return read_records(self.cut_times, CutTime)

    def read_times(self, precision: Precision = "float32") -> TimeTable | None:
        """What the search predicts times from, if it does."""
        what = "is no table of layers' times"
        return read_record(self.times_in(precision), TimeTable, what=what)

    def read_repeats(self) -> dict[str, list[Repeat]]:
        """By point; each seed counts once."""
        found: dict[str, dict[str, Repeat]] = {}
        for repeat in read_records(self.repeats, Repeat):
            found.setdefault(repeat.point, {})[repeat.trial] = repeat
        return {point: list(repeats.values()) for point, repeats in found.items()}

    def read_importance(self) -> Importance | None:
        """What the settings explain, or None before the search has ended."""
        return read_record(self.importance, Importance, what="is not what settings explain")

    def read_environment(self) -> Environment:
        """Versions, devices, seeds; empty if the run did not record them."""
        found = read_record(self.environment, Environment, what="is not a JSON object")
        return found or Environment({})

    def read_split(self) -> dict[str, list[int] | str] | None:
        """Which images are in which part, and their digest; None before the first training."""
        found = read_record(self.split, Split, what="is not lists of images")
        return None if found is None else found.root

    def add_points(self, points: Iterable[Point]) -> None:
        """Appends the points whose ids are new to the run."""
        known = {point.id for point in self.read_points()}
        for point in points:
            if point.id not in known:
                append_record(self.points, point)

    def point(self, point_id: str, *, among: Iterable[Point] | None = None) -> Point:
        """The point with this id, of all or `among` some; else an InputError lists known ids."""
        points = {point.id: point for point in (self.read_all_points() if among is None else among)}
        if point_id not in points:
            trials_first = sorted(points, key=lambda one: points[one].trial == BASELINE)
            known = ", ".join(trials_first[:_NAMED]) or "none"
            rest = len(points) - _NAMED
            more = f" and {rest} more" if rest > 0 else ""
            raise InputError(f"{self.path}: no point {point_id!r}; there are {known}{more}")
        return points[point_id]
