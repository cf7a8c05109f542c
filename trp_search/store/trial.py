"""One training's folder: where each of its files is, and what it holds."""

from __future__ import annotations

import dataclasses
import errno
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from trp_search.errors import InputError
from trp_search.records import EpochReport, Progress, TrialResult, TrialSpec
from trp_search.store import text
from trp_search.store.files import read_record, read_records
from trp_search.store.inside import File, inside, named

# Beside a file of weights: the nested factors of an elastic training.
NESTED = "nested.safetensors"


@dataclass(frozen=True, kw_only=True)
class TrialFolder:
    """One training's files; `search` is the run's search.yaml."""

    path: Path
    search: Path

    spec = File("spec.json")
    epochs = File("epochs.jsonl")
    checkpoint = File("checkpoint.safetensors")
    fine_tuning = File("tuning.safetensors")  # its checkpoint
    weights = File("weights.safetensors")  # trained, uncut
    nested = File(NESTED)  # factors of these weights, if an elastic training left any
    result = File("result.json")
    progress = File("progress.json")  # how far its worker has come, while one is at work
    lock = File(".lock")

    def point_weights(self, point_id: str, suffix: str = ".safetensors") -> Path:
        """The weights of one cut network, or the file of an int8 one."""
        name = named("point", point_id, of=self.path)
        return inside(self.path, f"point-{name}{suffix}")

    def read_spec(self) -> TrialSpec:
        """The trial's specification, its images where the run says that they lie now.

        Raises:
            InputError: it cannot be read.
        """
        spec = read_record(self.spec, TrialSpec, what="not a trial's settings")
        if spec is None:
            raise InputError(f"{self.spec}: cannot be read: {os.strerror(errno.ENOENT)}")
        self._own(self.spec, spec.name)
        if spec.workload.data.root is None:
            return spec
        root = _root_in(self.search)
        if root is None:
            return spec
        images = dataclasses.replace(spec.workload.data, root=root)
        return dataclasses.replace(spec, workload=dataclasses.replace(spec.workload, data=images))

    def read_result(self) -> TrialResult | None:
        """The trial's result, or None before it ended; InputError if it cannot be read."""
        result = read_record(self.result, TrialResult, what="is not a trial's result")
        if result is not None:
            others = {point.trial for point in result.points} - {self.path.name}
            if others and self.spec.exists():
                others -= {self.read_spec().weights_of}
            self._own(self.result, result.trial, *others)
        return result

    def forget_failure(self) -> None:
        """Removes the result of a training that did not end well, so that it runs again."""
        result = self.read_result()
        if result is not None and not result.ended_well:
            self.result.unlink()

    def read_progress(self) -> Progress | None:
        """How far its worker had come; of one that was killed the last that it told."""
        return read_record(self.progress, Progress, what="is not a trial's progress")

    def read_epochs(self) -> list[EpochReport]:
        """One report per epoch; of an epoch that ran again after a resume, the later one."""
        reports = read_records(self.epochs, EpochReport)
        self._own(self.epochs, *(report.trial for report in reports))
        return sorted({report.epoch: report for report in reports}.values(), key=lambda r: r.epoch)

    def seconds(self) -> float:
        """How long the epochs took together."""
        return sum((report.seconds for report in self.read_epochs()), 0.0)

    def _own(self, file: Path, *trials: str) -> None:
        """Refuses a file of another trial than its folder's."""
        for name in trials:
            if name != self.path.name:
                raise InputError(f"{file}: is of trial {name!r}, not of {self.path.name!r}")


def _root_in(search: Path) -> str | None:
    """Where a search.yaml has the images; None where it is missing or does not say."""
    try:
        return _root(search, search.stat().st_mtime_ns)
    except (OSError, InputError):  # which whoever reads the space says
        return None


@lru_cache(maxsize=8)
def _root(search: Path, changed: int) -> str | None:
    del changed
    found: Any = text.read_mapping(search)
    for key in ("workload", "data", "root"):
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, str) else None
