"""Points of a run in int8: quantised by a runtime's own tool, scored in that runtime."""

from __future__ import annotations

import dataclasses
import math
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from trp_search.errors import InputError, NothingFoundError
from trp_search.progress import doing, tracked
from trp_search.records import SUFFIXES, Int8, Point, QuantizerName, Role, int8_name
from trp_search.runs import networks, setup
from trp_search.runtimes.fold import fold_batch_norm
from trp_search.runtimes.machine import processor
from trp_search.runtimes.quantizer import Calibrated, QuantizedNetwork, calibrated, quantizer
from trp_search.selection import pareto
from trp_search.selection.snapshot import Snapshot
from trp_search.store import RunFolder, append_record, exclusive
from trp_search.tasks import task_of
from trp_search.tasks.task import Evaluation, threads
from trp_search.workloads.data import Splits

_IMAGES = 300  # to calibrate on; NNCF's own number
_BATCH, _SCORED = 32, 256


def worth_it(run: Snapshot) -> list[Point]:
    """The points to quantise: the baseline and the front, whose weights are there.

    Raises:
        NothingFoundError: the run has no such point.
    """
    asked = [point for point in run.contenders if point.int8 is None and run.space.allows(point)]
    front = pareto.front(asked, run.space.objective_list)
    every = [*([run.baseline] if run.baseline else []), *front]
    found = [point for point in every if point.id in run.kept]
    if not found:
        raise NothingFoundError(f"{run.folder.path}: has no point whose weights are there")
    return found


def unquantized(folder: RunFolder, points: Sequence[Point], runtime: QuantizerName) -> list[Point]:
    """Those of the points that are not in int8 for this runtime yet.

    Raises:
        InputError: the tool is not installed, one is in int8 itself, or its weights are gone.
    """
    quantizer(runtime).check()
    known = {point.id for point in folder.read_all_points()}
    left = [point for point in points if int8_name(point.id, runtime) not in known]
    for point in left:
        if point.int8 is not None:
            raise InputError(f"point {point.id!r}: is in int8; give {point.int8.of!r}")
        if not folder.weights(point).is_file():
            raise InputError(
                f"point {point.id!r}: its weights were not kept; a search keeps those on or near "
                "its front, and with  keep: all  every one"
            )
    return left


def quantize(folder: RunFolder, points: Sequence[Point], runtime: QuantizerName) -> Iterator[Point]:
    """Adds each point in int8 to the run and yields it.

    Raises:
        InputError: a search is at work in the folder, or the tool refuses a network.
    """
    busy = "a search is at work in this folder; quantise its points when it has ended"
    with exclusive(folder.lock, wait_seconds=0.0, holder=busy):
        for point in tracked(points, "quantising", total=len(points), unit="networks"):
            with tempfile.TemporaryDirectory() as place:
                made = Quantization(folder, point, runtime, Path(place)).point()
            append_record(folder.int8, made)
            yield made


class Quantization:
    """One point on its way to int8: calibrated once, written and scored as often as needed."""

    def __init__(
        self, folder: RunFolder, point: Point, runtime: QuantizerName, place: Path
    ) -> None:
        self._folder, self._point, self._runtime, self._place = folder, point, runtime, place
        self._spec = setup.on_this_machine(folder.trial(point.trial).read_spec())
        self._splits = setup.splits_of(self._spec, folder)
        self._calibrated = self._measured(self._splits)

    def _measured(self, splits: Splits) -> Calibrated:
        network = networks.network_of(self._folder, self._point)
        images = [batch.cpu() for batch in splits.train.samples(_IMAGES, batch_size=_BATCH)]
        folded, _ = fold_batch_norm(network, images[0])
        with doing(f"calibrating {self._point.id}"):
            return calibrated(self._runtime, folded, images, self._place)

    def point(self) -> Point:
        """The point, all of whose layers are in int8; its file is in the run."""
        path = self._place / f"network{self._suffix}"
        self._calibrated.write(path)
        return self._kept(path, self._scored(path))

    def _scored(self, path: Path) -> Evaluation:
        network = QuantizedNetwork(path, self._runtime)
        with threads(self._spec.threads):
            batches = self._splits.validation.batches(_SCORED)
            found = task_of(self._spec.workload).evaluate(network, batches)
        if not math.isfinite(found.loss):
            raise InputError(f"point {self._point.id!r}: in int8 its loss is not finite")
        return found

    @property
    def _suffix(self) -> str:
        return SUFFIXES[self._runtime]

    def _kept(self, path: Path, found: Evaluation) -> Point:
        point, tool = self._point, quantizer(self._runtime)
        made = dataclasses.replace(
            point,
            id=int8_name(point.id, self._runtime),
            role=_ROLES.get(point.role, point.role),
            score=found.score,
            loss=found.loss,
            bytes=tool.weight_bytes(path),
            predicted=None,
            int8=Int8(
                of=point.id,
                runtime=self._runtime,
                images=min(_IMAGES, len(self._splits.train)),
                machine=processor(),
                versions=tool.versions(),
            ),
        )
        kept = self._folder.weights(made)
        for file in self._place.glob(f"{path.stem}.*"):
            shutil.move(file, kept.with_suffix(file.suffix))
        return made


# What a point becomes in int8 that has a role of its own.
_ROLES: dict[Role, Role] = {"baseline": "derived", "trial": "derived", "screened_out": "derived"}
