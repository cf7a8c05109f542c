"""Sources of images: a line each in `SOURCES`; every other name is a user's callable."""

from __future__ import annotations

import difflib
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import final

from typing_extensions import override

from trp_search.errors import InputError
from trp_search.records import DataSpec
from trp_search.workloads import folder
from trp_search.workloads.callables import is_callable_name
from trp_search.workloads.collection import Collection
from trp_search.workloads.custom_data import Given
from trp_search.workloads.embedded import Digits
from trp_search.workloads.images import Shape

_WHERE = "workload.data"


class Source(ABC):
    """What a name of `workload.data` stands for. Stateless.

    Attributes:
        included: whether the images come with this package's requirements.
        mirrors: whether a mirrored image keeps its label.
        files: whether images are files of any size: they can be streamed, and a network's own size
            and normalisation are their defaults.
    """

    included = False
    mirrors = True
    files = False

    @abstractmethod
    def shape(self, spec: DataSpec) -> Shape:
        """The shape of the images; reads as little as possible."""

    @abstractmethod
    def collection(self, spec: DataSpec) -> Collection:
        """The images; imports the library that holds them, which costs seconds."""

    def class_names(self, spec: DataSpec) -> Sequence[str] | None:
        """A name for each class, None if classes have no names."""
        del spec
        return None

    def version(self, spec: DataSpec) -> tuple[int, ...]:
        """Other numbers once the images may be others; what is read is kept by it."""
        del spec
        return ()

    def is_here(self, spec: DataSpec) -> bool:
        """Whether nothing has to be downloaded."""
        del spec
        return True


@final
class _Digits(Source):
    included = True
    mirrors = False

    @override
    def shape(self, spec: DataSpec) -> Shape:
        return Shape(channels=1, height=8, width=8, classes=10)

    @override
    def collection(self, spec: DataSpec) -> Collection:
        return Digits()


@final
class _Cifar(Source):
    def __init__(self, *names: str, classes: int) -> None:
        self._names = names
        self._classes = classes

    @override
    def shape(self, spec: DataSpec) -> Shape:
        return Shape(channels=3, height=32, width=32, classes=self._classes)

    @override
    def collection(self, spec: DataSpec) -> Collection:
        from trp_search.workloads.cifar import Cifar  # noqa: PLC0415  torchvision

        return Cifar(spec.name, root=root_of(spec), download=spec.download)

    @override
    def class_names(self, spec: DataSpec) -> Sequence[str] | None:
        return self._names or None

    @override
    def is_here(self, spec: DataSpec) -> bool:
        from trp_search.workloads.cifar import is_whole  # noqa: PLC0415  torchvision

        return not spec.download or is_whole(spec.name, root=root_of(spec))


@final
class _Folder(Source):
    files = True

    @override
    def shape(self, spec: DataSpec) -> Shape:
        channels, size, classes = spec.channels or 3, spec.image_size, spec.classes
        if size and classes and not root_of(spec).is_dir():
            return Shape(channels=channels, height=size, width=size, classes=classes)
        return folder.describe(root_of(spec), channels=channels, size=size, classes=classes)

    @override
    def collection(self, spec: DataSpec) -> Collection:
        return folder.Folder(root_of(spec), channels=spec.channels or 3, size=spec.image_size)

    @override
    def class_names(self, spec: DataSpec) -> Sequence[str] | None:
        return folder.class_names(root_of(spec)) if root_of(spec).is_dir() else None

    @override
    def version(self, spec: DataSpec) -> tuple[int, ...]:
        return folder.version(root_of(spec))


@final
class _Callable(Source):
    @override
    def shape(self, spec: DataSpec) -> Shape:
        channels, size, classes = spec.channels, spec.image_size, spec.classes
        if channels and size and classes:
            return Shape(channels=channels, height=size, width=size, classes=classes)
        return Given(spec).shape

    @override
    def collection(self, spec: DataSpec) -> Collection:
        return Given(spec)


SOURCES: dict[str, Source] = {
    "digits": _Digits(),
    "cifar10": _Cifar(
        *("airplane", "automobile", "bird", "cat", "deer"),
        *("dog", "frog", "horse", "ship", "truck"),
        classes=10,
    ),
    "cifar100": _Cifar(classes=100),
    "images": _Folder(),
}


def source_of(spec: DataSpec) -> Source:
    """The source of a name; raises InputError for one that is not known."""
    if is_callable_name(spec.name):
        return _Callable()
    if spec.name not in SOURCES:
        close = difflib.get_close_matches(spec.name, SOURCES, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise InputError(
            f"{_WHERE}: {spec.name!r} is not known; {hint}There are {', '.join(SOURCES)} and "
            "package.module:callable"
        )
    return SOURCES[spec.name]


def root_of(spec: DataSpec) -> Path:
    """The folder of its files, `~` and variables expanded; raises InputError without one."""
    if spec.root is None:
        raise InputError(f"{_WHERE}.root: is missing; {spec.name} needs the folder of its files")
    return Path(os.path.expandvars(spec.root)).expanduser()
