"""A folder of images: train/<class>/*, test/<class>/* and val/<class>/*, or one of these two."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import final

import torch
from torch import Tensor
from typing_extensions import override

from trp_search.errors import InputError
from trp_search.workloads import pixels
from trp_search.workloads.collection import Collection
from trp_search.workloads.decoding import decoded
from trp_search.workloads.images import Shape
from trp_search.workloads.listing import Listing, Passed, beside, listed, shown, subfolders

_ROOT = "workload.data.root"


@final
class Folder(Collection):
    """The images of `root`; classes are its folders, by name.

    Args:
        root: the folder; with `test` and `val`, `val` is for validation, else either is held out.
        channels: 1 or 3.
        size: side in pixels to resize images to; None if they have one size.
    """

    def __init__(self, root: Path, *, channels: int, size: int | None) -> None:
        train, *others = parts = _parts(root)
        names = _class_names(train)
        for part in others:
            if odd := sorted(set(names) ^ set(_class_names(part))):
                raise InputError(f"{_ROOT}: {train} and {part} differ in class {odd[0]!r}")
        passed = [p for part in parts for p in _passed(part, "", beside(part))]
        self.files: list[Path] = []
        labels: list[int] = []
        starts: list[int] = []
        for part in parts:
            starts.append(len(self.files))
            for label, name in enumerate(names):
                found = _listing(part / name)
                passed += _passed(part, name, found.passed)
                self.files += found.images
                labels += [label] * len(found.images)
        self.training, self.validation = starts[1], starts[-1] - starts[1]
        self.labels = torch.tensor(labels)
        self.passed = passed
        self._root = root
        self._channels = channels
        self._size = size

    @property
    @override
    def names(self) -> list[str]:
        return [path.relative_to(self._root).as_posix() for path in self.files]

    @override
    def read(self, ids: Tensor) -> Tensor:
        return pixels.stacked(self._decode(self.files[number]) for number in ids.tolist())

    def _decode(self, path: Path) -> Tensor:
        image = decoded(path, channels=self._channels)
        return pixels.from_pil(image, channels=self._channels, size=self._size)


def describe(root: Path, *, channels: int, size: int | None, classes: int | None) -> Shape:
    """The shape of what `Folder` would read, from folder names and at most one image.

    `classes`, if given, must be their number.
    """
    train, *_ = _parts(root)
    names = _class_names(train)
    if classes not in (None, len(names)):
        raise InputError(
            f"workload.data.classes: {classes} is not the {len(names)} folders in '{train}'"
        )
    if size:
        return Shape(channels=channels, height=size, width=size, classes=len(names))
    height, width = _size(_listing(train / names[0]).images[0], channels)
    return Shape(channels=channels, height=height, width=width, classes=len(names))


def class_names(root: Path) -> tuple[str, ...]:
    """The classes in the order of their labels."""
    train, *_ = _parts(root)
    return tuple(_class_names(train))


def version(root: Path) -> tuple[int, ...]:
    """The times of its parts and classes, which change with what is right in them; or none."""
    parts = _parts(root) if root.is_dir() else []
    places = [place for part in parts for place in (part, *(part / n for n in subfolders(part)))]
    return tuple(place.stat().st_mtime_ns for place in places)


def _parts(root: Path) -> list[Path]:
    """The training folder in `root`, that of validation if there is a third, and the held-out."""
    if not root.is_dir():
        raise InputError(f"{_ROOT}: '{root}' is not a folder")
    others = [root / name for name in ("val", "test") if (root / name).is_dir()]
    if not (root / "train").is_dir() or not others:
        raise InputError(
            f"{_ROOT}: '{root}' does not hold train/<class>/ and test/ or val/<class>/"
        )
    return [root / "train", *others]


def _class_names(part: Path) -> list[str]:
    """The classes in `part`, sorted."""
    names = subfolders(part)
    if not names:
        raise InputError(f"{_ROOT}: '{part}' holds no folder of a class")
    for name in names:
        if shown(name) != name:
            raise InputError(
                f"{_ROOT}: '{shown(part / name)}' is no name in UTF-8; rename the folder"
            )
    return names


def _listing(folder: Path) -> Listing:
    found = listed(folder)
    if not found.images:
        kinds = ", ".join(sorted(found.passed))
        seen = f"; skipped: {found.passed.total()} files ({kinds})" if kinds else ""
        raise InputError(f"{_ROOT}: '{folder}' holds no image{seen}")
    return found


def _passed(part: Path, name: str, counts: Counter[str]) -> list[Passed]:
    where = str(Path(part.name, name))
    return [Passed(where=where, why=why, count=count) for why, count in counts.items()]


def _size(path: Path, channels: int) -> tuple[int, int]:
    image = decoded(path, channels=channels)
    return image.height, image.width
