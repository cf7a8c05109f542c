"""A folder of images: train/<class>/* and test/<class>/* (or val/<class>/*)."""

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
        root: the folder; the `test` part of it is preferred to `val`.
        channels: 1 or 3.
        size: side in pixels to resize images to; None if they have one size.
    """

    def __init__(self, root: Path, *, channels: int, size: int | None) -> None:
        train, heldout = _parts(root)
        names = _class_names(train)
        if _class_names(heldout) != names:
            odd = sorted(set(names) ^ set(_class_names(heldout)))
            raise InputError(f"{_ROOT}: {train} and {heldout} differ in class {odd[0]!r}")
        passed = [p for part in (train, heldout) for p in _passed(part, "", beside(part))]
        self.files: list[Path] = []
        labels: list[int] = []
        for part in (train, heldout):
            self.training = len(self.files)
            for label, name in enumerate(names):
                found = _listing(part / name)
                passed += _passed(part, name, found.passed)
                self.files += found.images
                labels += [label] * len(found.images)
        self.labels = torch.tensor(labels)
        self.passed = passed
        self._channels = channels
        self._size = size

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
    train, _ = _parts(root)
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
