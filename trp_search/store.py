"""The run folder: its paths, whole-or-nothing writes and append-only records."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from filelock import FileLock, Timeout
from pydantic import ValidationError

from trp_search.errors import InputError
from trp_search.records import (
    EpochReport,
    Latency,
    Point,
    Repeat,
    TestScore,
    TrialResult,
    TrialSpec,
    from_json,
    to_json,
)

T = TypeVar("T")


def write_whole(path: Path, data: bytes | str) -> None:
    """Writes `data` to `path` so that a reader, or a crash, sees all of it or none."""
    with replacing(path) as temporary:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path; what the block writes there becomes `path` if it does not raise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
        temporary.chmod(0o644)  # safetensors makes files that only their owner reads
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def append_record(path: Path, record: object) -> None:
    """Adds one line; a line that an earlier crash left unfinished is cut off first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab+") as file:
        size = file.seek(0, os.SEEK_END)
        if size:
            file.seek(size - 1)
            if file.read(1) != b"\n":
                file.seek(0)
                file.truncate(file.read().rfind(b"\n") + 1)
        file.write(to_json(record).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def read_records(path: Path, kind: type[T]) -> list[T]:
    """Every whole line of `path`, in order; an unfinished last line is left out."""
    records = []
    for number, line in enumerate((_bytes(path) or b"").split(b"\n")[:-1], start=1):
        if line:
            what = f"not a list of {kind.__name__} records: line {number}"
            records.append(_record(path, kind, line, what=what))
    return records


def _bytes(path: Path) -> bytes | None:
    """What the file holds, or None where there is none."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None


def _record(path: Path, kind: type[T], text: bytes, *, what: str) -> T:
    try:
        return from_json(kind, text)
    except ValueError as error:
        raise InputError(f"{path}: {what}: {_first(error)}") from None


def _first(error: ValueError) -> str:
    if not isinstance(error, ValidationError):
        return " ".join(str(error).split())[:160]
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    return f"{place}: {first['msg']}" if place else first["msg"]


@contextmanager
def exclusive(path: Path, *, wait_seconds: float, holder: str) -> Iterator[None]:
    """Holds the lock file `path`; raises InputError when another process keeps it."""
    lock = FileLock(path, timeout=wait_seconds)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise InputError(f"{path.parent}: {holder}") from None
    except NotImplementedError:
        raise InputError(f"{path.parent}: its file system has no locks; use another") from None
    except OSError as error:
        raise InputError(f"{path.parent}: cannot be locked: {error.strerror or error}") from None
    try:
        yield
    finally:
        lock.release()


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
        text = _bytes(self.spec)
        if text is None:
            raise InputError(f"{self.spec}: cannot be read: {os.strerror(errno.ENOENT)}")
        return _record(self.spec, TrialSpec, text, what="not a trial's settings")

    def read_result(self) -> TrialResult | None:
        """How the trial ended, or None while it has not; InputError when that cannot be read."""
        text = _bytes(self.result)
        if text is None:
            return None
        return _record(self.result, TrialResult, text, what="is not a trial's result")

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
