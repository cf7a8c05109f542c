"""A folder of images: train/<class>/* and test/<class>/* (or val/<class>/*)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import final

import torch
from PIL import Image
from torch import Tensor
from typing_extensions import override

from trp_search.errors import InputError
from trp_search.workloads import pixels
from trp_search.workloads.collection import Collection
from trp_search.workloads.images import Shape

_ROOT = "workload.data.root"
_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff", ".webp"}


@final
class Folder(Collection):
    """The images of `root`; classes are its folders, by name.

    Args:
        root: the folder; the `test` part of it is preferred to `val`.
        channels: 1 or 3.
        size: side to bring images to; None when they have one size.
    """

    def __init__(self, root: Path, *, channels: int, size: int | None) -> None:
        train, heldout = _parts(root)
        names = _class_names(train)
        if _class_names(heldout) != names:
            odd = sorted(set(names) ^ set(_class_names(heldout)))
            raise InputError(f"{_ROOT}: {train} and {heldout} differ in class {odd[0]!r}")
        listed = [_files(part, names) for part in (train, heldout)]
        self.files = [file for files, _ in listed for file in files]
        self.labels = torch.tensor([label for _, labels in listed for label in labels])
        self.training = len(listed[0][0])
        self._channels = channels
        self._size = size

    @override
    def read(self, ids: Tensor) -> Tensor:
        return pixels.stacked(self._decode(self.files[number]) for number in ids.tolist())

    def _decode(self, path: Path) -> Tensor:
        with opened(path) as image:
            return pixels.from_pil(image, channels=self._channels, size=self._size)


def describe(root: Path, *, channels: int, size: int | None, classes: int | None) -> Shape:
    """The shape of what `Folder` would read, from folder names and at most one image.

    `classes`, where it is said, has to be their number.
    """
    train, _ = _parts(root)
    names = _class_names(train)
    if classes not in (None, len(names)):
        raise InputError(
            f"workload.data.classes: {classes} is not the {len(names)} folders in '{train}'"
        )
    height, width = (size, size) if size else _size(_some_file(train / names[0]))
    return Shape(channels=channels, height=height, width=width, classes=len(names))


def class_names(root: Path) -> tuple[str, ...]:
    """The classes in the order of their labels."""
    train, _ = _parts(root)
    return tuple(_class_names(train))


def _parts(root: Path) -> tuple[Path, Path]:
    """The training and the held-out folder in `root`."""
    if not root.is_dir():
        raise InputError(f"{_ROOT}: '{root}' is not a folder")
    heldout = [root / name for name in ("test", "val") if (root / name).is_dir()]
    if not (root / "train").is_dir() or not heldout:
        raise InputError(
            f"{_ROOT}: '{root}' does not hold train/<class>/ and test/ or val/<class>/"
        )
    return root / "train", heldout[0]


def _class_names(part: Path) -> list[str]:
    """The classes in `part`, sorted."""
    names = sorted(entry.name for entry in os.scandir(part) if entry.is_dir())
    if not names:
        raise InputError(f"{_ROOT}: '{part}' holds no folder of a class")
    return names


def opened(path: Path) -> Image.Image:
    """The image in the file `path`, decoded."""
    try:
        image = Image.open(path)
        image.load()
    except (OSError, SyntaxError) as error:
        raise InputError(f"{path}: cannot be read as an image: {error}") from None
    return image


def _files(part: Path, names: list[str]) -> tuple[list[Path], list[int]]:
    files: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(names):
        found = sorted(_below(part / name))
        if not found:
            raise InputError(f"{_ROOT}: '{part / name}' holds no image")
        files += found
        labels += [label] * len(found)
    return files, labels


def _below(folder: Path) -> list[Path]:
    return [
        Path(where, name)
        for where, _, names in os.walk(folder)
        for name in names
        if Path(name).suffix.lower() in _SUFFIXES
    ]


def _some_file(folder: Path) -> Path:
    found = _below(folder)
    if not found:
        raise InputError(f"{_ROOT}: '{folder}' holds no image")
    return min(found)


def _size(path: Path) -> tuple[int, int]:
    with opened(path) as image:
        return image.height, image.width
