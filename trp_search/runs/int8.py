"""One network in int8, and the point of a trial that asks for it."""

from __future__ import annotations

import copy
import dataclasses
import math
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from torch import nn

from trp_search.progress import doing
from trp_search.records import SUFFIXES, Int8, Point, QuantizerName, RungScore, int8_name
from trp_search.runs.predicted import predicted_int8
from trp_search.runs.setup import Setup
from trp_search.runtimes.fold import fold_batch_norm
from trp_search.runtimes.machine import processor
from trp_search.runtimes.quantizer import QuantizedNetwork, calibrated, quantizer
from trp_search.scoring.candidate import CompressedNetwork
from trp_search.space.settings import SERVED
from trp_search.store import RunFolder
from trp_search.tasks.task import DivergedError, Evaluation, Task
from trp_search.workloads.data import Splits, Validation

_IMAGES = 300  # to calibrate on; NNCF's own number
_BATCH, _SCORED = 32, 256


class Quantized:
    """A network quantised: calibrated once, written and scored as often as needed.

    Args:
        network: not changed.
        runtime: whose tool quantises it.
        splits: it is calibrated on training images and scored on validation images.
        task: what it is for.
        place: a folder for its files.

    Attributes:
        layers: the names of those that have weights.
    """

    def __init__(
        self, network: nn.Module, runtime: QuantizerName, splits: Splits, task: Task, place: Path
    ) -> None:
        self._runtime, self._splits, self._task = runtime, splits, task
        self._path = place / f"network{SUFFIXES[runtime]}"
        images = [batch.cpu() for batch in splits.train.samples(_IMAGES, batch_size=_BATCH)]
        folded, _ = fold_batch_norm(copy.deepcopy(network).cpu(), images[0])
        with doing("calibrating for int8"):
            self._calibrated = calibrated(runtime, folded, images, place)
        self.layers = self._calibrated.layers

    @property
    def bytes(self) -> int:
        """Of the tensors in the file that was written last."""
        return quantizer(self._runtime).weight_bytes(self._path)

    def score(
        self, in_float: Sequence[str] = (), *, images: Validation | None = None
    ) -> Evaluation:
        """Writes the network, with these layers in float; scores it, by default on all images.

        Raises:
            DivergedError: the loss is not finite.
        """
        self._calibrated.write(self._path, in_float=in_float)
        network = QuantizedNetwork(self._path, self._runtime)
        batches = (images or self._splits.validation).batches(_SCORED)
        found = self._task.evaluate(network, batches)
        if not math.isfinite(found.loss):
            raise DivergedError("in int8 the validation loss is not finite")
        return found

    def keep(
        self,
        folder: RunFolder,
        point: Point,
        found: Evaluation,
        *,
        in_float: tuple[str, ...] = (),
        max_drop: float | None = None,
    ) -> Point:
        """The point of `point`'s network as it was scored last; its file goes into the run."""
        tool = quantizer(self._runtime)
        made = dataclasses.replace(
            point,
            id=int8_name(point.id, self._runtime, max_drop),
            role=point.role if point.role in ("control", "refit") else "derived",
            score=found.score,
            loss=found.loss,
            bytes=self.bytes,
            settings=point.settings | {SERVED: "int8"},
            predicted=None if in_float else predicted_int8(folder, point.layers, self._runtime),
            int8=Int8(
                of=point.id,
                runtime=self._runtime,
                images=min(_IMAGES, len(self._splits.train)),
                in_float=in_float,
                max_drop=max_drop,
                machine=processor(),
                versions=tool.versions(),
            ),
        )
        kept = folder.weights(made)
        for file in QuantizedNetwork(self._path, self._runtime).files:
            shutil.move(file, kept.with_suffix(file.suffix))
        return made


def of_cut(begun: Setup, network: nn.Module, point: Point) -> Point:
    """The point of a cut in int8, whose float network is that of `point`; it goes into the run.

    Raises:
        InputError: the tool refuses the network.
        DivergedError: the loss is not finite.
    """
    with _quantized(begun, network) as made:
        return made.keep(begun.folder, point, made.score())


def of_trial(begun: Setup, network: nn.Module, point: Point) -> Point:
    """As `of_cut`, as the trial's own point."""
    return dataclasses.replace(of_cut(begun, network, point), role="trial")


def at_rung(begun: Setup, cut: CompressedNetwork, found: RungScore, *, images: int) -> RungScore:
    """The score of a cut in training, `found` in float32, in int8; raises as `of_cut` does."""
    runtime = begun.spec.int8
    assert runtime is not None
    with _quantized(begun, cut.network) as made:
        scored = made.score(images=begun.splits.validation.sample(images))
        return dataclasses.replace(
            found,
            metric=scored.score.value,
            bytes=made.bytes,
            predicted=predicted_int8(begun.folder, cut.layers, runtime),
        )


@contextmanager
def _quantized(begun: Setup, network: nn.Module) -> Iterator[Quantized]:
    assert begun.spec.int8 is not None
    with tempfile.TemporaryDirectory() as place:
        yield Quantized(network, begun.spec.int8, begun.splits, begun.task, Path(place))
