"""Images from a user's own callable."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import torch
from PIL import Image
from torch import Tensor
from typing_extensions import override

from trp_search.errors import InputError
from trp_search.records import DataSpec
from trp_search.workloads import pixels
from trp_search.workloads.callables import called
from trp_search.workloads.collection import Collection
from trp_search.workloads.images import Shape

_WHERE = "workload.data"


@dataclass(frozen=True, kw_only=True)
class _Part:
    labels: Tensor
    image: Callable[[int], object]


@final
class Given(Collection):
    """What `package.module:callable` returns for its options: (training, held-out).

    Each is a pair of uint8 images (n, c, h, w) and int64 labels (n,), or a data set of
    (PIL image or uint8 tensor (c, h, w), int). A data set's labels are read from its `targets`
    where it has them, so that only chosen images are decoded.
    """

    def __init__(self, spec: DataSpec) -> None:
        result = called(spec.name, spec.options, where=_WHERE)
        if not isinstance(result, tuple | list) or len(result) != 2:
            raise InputError(f"{_WHERE}: {spec.name} returned no pair (training, held-out)")
        self._spec = spec
        self._parts = [_part(part, spec.name) for part in result]
        self.labels = torch.cat([part.labels for part in self._parts])
        self.training = len(self._parts[0].labels)
        channels, height, width = self._image(0).shape
        found = int(self.labels.max()) + 1
        if spec.classes is not None and found > spec.classes:
            raise InputError(f"{_WHERE}.classes: {spec.classes} is less than the {found} labelled")
        self.shape = Shape(
            channels=channels, height=height, width=width, classes=spec.classes or found
        )

    @override
    def read(self, ids: Tensor) -> Tensor:
        return pixels.stacked(self._image(number) for number in ids.tolist())

    def _image(self, number: int) -> Tensor:
        training = number < self.training
        image = self._parts[0 if training else 1].image(
            number if training else number - self.training
        )
        if isinstance(image, Image.Image):
            grey = image.mode in ("1", "L")
            channels = self._spec.channels or (1 if grey else 3)
            return pixels.from_pil(image, channels=channels, size=self._spec.image_size)
        if isinstance(image, Tensor) and image.dtype == torch.uint8 and image.dim() == 3:
            return image
        raise InputError(
            f"{_WHERE}: image {number} of {self._spec.name} is {_kind(image)}, "
            "not a PIL image or a uint8 tensor (c, h, w)"
        )


def _part(part: Any, name: str) -> _Part:  # noqa: ANN401  whatever a user's code returned
    if isinstance(part, tuple | list) and len(part) == 2 and isinstance(part[0], Tensor):
        images, labels = part
        if not isinstance(labels, Tensor) or labels.shape != images.shape[:1]:
            raise InputError(f"{_WHERE}: {name} returned images without one label each")
        return _Part(labels=_labels(labels, name), image=images.__getitem__)
    if not hasattr(part, "__getitem__") or not hasattr(part, "__len__"):
        raise InputError(
            f"{_WHERE}: {name} returned {_kind(part)}, not (images, labels) or a Dataset"
        )
    listed = getattr(part, "targets", None)
    if listed is None:
        listed = [part[number][1] for number in range(len(part))]
    return _Part(
        labels=_labels(torch.as_tensor(listed), name), image=lambda number: part[number][0]
    )


def _labels(labels: Tensor, name: str) -> Tensor:
    whole = not labels.is_floating_point() and labels.dtype != torch.bool and labels.dim() == 1
    if not whole or len(labels) == 0 or int(labels.min()) < 0:
        raise InputError(f"{_WHERE}: {name}'s labels are not whole numbers from 0, one per image")
    return labels.long().cpu()


def _kind(value: object) -> str:
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
    return type(value).__name__
