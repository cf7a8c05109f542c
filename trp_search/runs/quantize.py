"""Points of a run in int8: quantised by a runtime's own tool, scored in that runtime."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from trp_search.errors import InputError, NothingFoundError
from trp_search.progress import tracked
from trp_search.records import Point, QuantizerName, int8_name
from trp_search.runs import networks, setup
from trp_search.runs.int8 import Quantized
from trp_search.runtimes.quantizer import quantizer
from trp_search.selection import pareto
from trp_search.selection.snapshot import Snapshot
from trp_search.store import RunFolder, append_record, exclusive
from trp_search.tasks import task_of
from trp_search.tasks.task import DivergedError, Evaluation, threads
from trp_search.workloads.data import Validation

_SAMPLE = 1000  # validation images on which layers are compared


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
        raise NothingFoundError(f"{run.folder.path}: has no point with stored weights")
    return found


def unquantized(
    folder: RunFolder,
    points: Sequence[Point],
    runtime: QuantizerName,
    *,
    max_drop: float | None = None,
) -> list[Point]:
    """Those of the points that are not in int8 for this runtime yet, within `max_drop` if given.

    Raises:
        InputError: the tool is not installed, one is in int8 itself, or its weights are gone.
    """
    quantizer(runtime).check()
    known = {point.id: point for point in folder.read_all_points()}
    left = [point for point in points if not _is_there(point, runtime, max_drop, known)]
    for point in left:
        if point.int8 is not None:
            raise InputError(f"point {point.id!r}: is in int8; give {point.int8.of!r}")
        if not folder.weights(point).is_file():
            raise InputError(
                f"point {point.id!r}: its weights were not kept; a search keeps those on or near "
                "its front, and with  keep: all  every one"
            )
    return left


def _is_there(
    point: Point, runtime: QuantizerName, most: float | None, known: Mapping[str, Point]
) -> bool:
    whole = known.get(int8_name(point.id, runtime))
    if whole is None or most is None:
        return whole is not None
    return whole.score.keeps_to(point.score, most) or int8_name(point.id, runtime, most) in known


def quantize(
    folder: RunFolder,
    points: Sequence[Point],
    runtime: QuantizerName,
    *,
    max_drop: float | None = None,
) -> Iterator[Point]:
    """Adds each point in int8 to the run and yields it.

    One that loses more than `max_drop` of its float network's metric on validation is followed by
    one with some layers in float, if any keeps within it.

    Raises:
        InputError: another command is at work in the folder, the tool refuses a network, or it was
            trained on the images of validation, on which `max_drop` cannot be measured.
    """
    seen = [point.id for point in points if point.role == "refit"]
    if seen and max_drop is not None:
        raise InputError(f"point {seen[0]!r}: was trained on validation; --max-drop is not for it")
    busy = "another command is at work in this folder; quantise its points when it has ended"
    with exclusive(folder.lock, wait_seconds=0.0, holder=busy):
        known = {point.id: point for point in folder.read_all_points()}
        for point in tracked(points, "quantising", total=len(points), unit="networks"):
            with tempfile.TemporaryDirectory() as place:
                ranged = Quantization(folder, point, runtime, Path(place))
                whole = known.get(int8_name(point.id, runtime))
                if whole is None:
                    whole = ranged.whole()
                    append_record(folder.int8, whole)
                    yield whole
                if max_drop is not None and not whole.score.keeps_to(point.score, max_drop):
                    mixed = ranged.within(max_drop)
                    if mixed is not None:
                        append_record(folder.int8, mixed)
                        yield mixed


class Quantization:
    """One point of a run on its way to int8."""

    def __init__(
        self, folder: RunFolder, point: Point, runtime: QuantizerName, place: Path
    ) -> None:
        self._folder, self._point = folder, point
        self._spec = setup.on_this_machine(folder.trial(point.trial).read_spec())
        splits = setup.splits_of(self._spec, folder)
        network, task = networks.network_of(folder, point), task_of(self._spec.workload)
        self._sample = splits.validation.sample(_SAMPLE)
        self._quantized = Quantized(network, runtime, splits, task, place)

    def whole(self) -> Point:
        """The point, all of whose layers are in int8; its file is in the run."""
        return self._quantized.keep(self._folder, self._point, self._scored(()))

    def within(self, most: float) -> Point | None:
        """The point with the fewest layers in float that loses at most `most`; None without one.

        Layers stay in float by the validation loss that each causes as the only one in int8, the
        worst first; how many are enough is bisected. That is a score for each layer, on a sample,
        and about log2 of their number on all images.
        """
        layers = self._by_loss()
        low, high, found = 0, len(layers), False
        while high - low > 1:
            middle = (low + high) // 2
            if self._scored(layers[:middle]).score.keeps_to(self._point.score, most):
                high, found = middle, True
            else:
                low = middle
        if not found:
            return None
        kept, last = layers[:high], self._scored(layers[:high])  # which wrote its file
        return self._quantized.keep(self._folder, self._point, last, in_float=kept, max_drop=most)

    def _by_loss(self) -> tuple[str, ...]:
        """The layers, the worst in int8 first."""
        names = self._quantized.layers
        tried = tracked(names, "each layer alone in int8", total=len(names), unit="layers")
        losses = {
            name: self._scored([other for other in names if other != name], self._sample).loss
            for name in tried
        }
        return tuple(sorted(names, key=lambda name: -losses[name]))

    def _scored(self, in_float: Sequence[str], images: Validation | None = None) -> Evaluation:
        """The network, with these layers in float, on validation images; all by default."""
        try:
            with threads(self._spec.threads):
                return self._quantized.score(in_float, images=images)
        except DivergedError as error:
            raise InputError(f"point {self._point.id!r}: {error}") from None
