"""A bundle's network in further formats, each verified on real images before it is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from trp_search.errors import InputError, TrpSearchError, in_words
from trp_search.export import alone
from trp_search.export.alone import run_alone
from trp_search.export.bundle import SOURCE as SOURCE_FILE
from trp_search.export.bundle import WEIGHTS
from trp_search.runtimes.executorch import check_executorch, write_executorch
from trp_search.runtimes.onnx import check_onnx, write_onnx
from trp_search.runtimes.openvino import check_openvino, write_openvino
from trp_search.runtimes.pt2 import write_program
from trp_search.runtimes.source import as_source
from trp_search.tasks.task import Task

TOLERANCE = 1e-4


@dataclass(frozen=True, kw_only=True)
class Format:
    """One way to write a network, and to run the file without this package.

    Attributes:
        file: its name in a bundle.
        beside: a second file, with weights, where the first one does not hold them.
        check: raises InputError if its software is not installed.
    """

    file: str
    beside: str | None = None
    write: Callable[[nn.Module, Tensor, Path], None]
    run: Callable[[Path, Tensor], Tensor]
    check: Callable[[], None] = lambda: None

    def files_in(self, bundle: Path) -> list[Path]:
        """Those of its files that are there."""
        names = [self.file] if self.beside is None else [self.file, self.beside]
        return [bundle / name for name in names if (bundle / name).exists()]


def _write_source(network: nn.Module, images: Tensor, path: Path) -> None:
    del images
    path.write_text(as_source(network, weights=WEIGHTS), encoding="utf-8")


def _write_executorch(network: nn.Module, images: Tensor, path: Path) -> None:
    write_executorch(network, images[:1], path)


WITHOUT = ("torchvision", "timm", "onnx", "onnxscript", "openvino_telemetry")
FORMATS = {
    "onnx": Format(
        file="network.onnx",
        beside="network.onnx.data",
        write=write_onnx,
        run=run_alone(alone.ONNX, *WITHOUT),
        check=check_onnx,
    ),
    "openvino": Format(
        file="network.xml",
        beside="network.bin",
        write=write_openvino,
        run=run_alone(alone.OPENVINO, *WITHOUT),
        check=check_openvino,
    ),
    "executorch": Format(
        file="network.pte",
        write=_write_executorch,
        run=run_alone(alone.EXECUTORCH, *WITHOUT),
        check=check_executorch,
    ),
    "pt2": Format(file="network.pt2", write=write_program, run=run_alone(alone.PT2)),
}
SOURCE = Format(file=SOURCE_FILE, write=_write_source, run=run_alone(alone.SOURCE, *WITHOUT))


def check_formats(names: Sequence[str]) -> None:
    """Raises InputError for an unknown format, or one whose software is not installed."""
    for name in names:
        if name not in FORMATS:
            raise InputError(f"format: {name!r} is none of {', '.join(FORMATS)}")
        FORMATS[name].check()


def write_format(
    bundle: Path, network: nn.Module, images: Tensor, form: Format, task: Task
) -> float:
    """Writes one format into the bundle and returns its greatest difference in a logit.

    Args:
        bundle: the folder.
        network: in evaluation mode, on the CPU.
        images: real ones, as the network sees them, (n, c, h, w).
        form: which format.
        task: what the network is for.

    Raises:
        TrpSearchError: it cannot be written, or its outputs differ from the network's; nothing of
            it is left.
    """
    path = bundle / form.file
    # Some formats hold the images that they are written with: none of the user's.
    example = torch.rand(images[:2].shape, generator=torch.Generator().manual_seed(0))
    try:
        form.write(network, example, path)
        with torch.no_grad():
            expected = network(images)
        return agreement(expected, form.run(path, images), task)
    except Exception as error:  # noqa: BLE001  exporters raise anything
        for file in form.files_in(bundle):
            file.unlink()
        raise TrpSearchError(f"{form.file}: {in_words(error)}") from None


def agreement(expected: Tensor, found: Tensor, task: Task) -> float:
    """The greatest difference of an answer, once it is known to be small enough.

    Args:
        expected: the network's own.
        found: the format's.
        task: what the answers are for.

    Raises:
        TrpSearchError: one differs by more than 1e-4 of the largest (and one more), or the task
            tells them apart, as when an image is another class by a wider margin than that.
    """
    if found.shape != expected.shape:
        raise TrpSearchError(f"returns {tuple(found.shape)}, not {tuple(expected.shape)}")
    difference = (found - expected).abs()
    most = float(difference.max())
    allowed = TOLERANCE * (1 + float(expected.abs().max()))
    if not most <= allowed:
        raise TrpSearchError(f"an output differs by {most:.2g}, more than {allowed:.2g}")
    if problem := task.differs(expected, found, by=most):
        raise TrpSearchError(problem)
    return most
