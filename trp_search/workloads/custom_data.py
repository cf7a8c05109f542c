"""Images from a user's own callable."""

from __future__ import annotations

from typing import final

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from typing_extensions import override

from trp_search.errors import InputError, one_line
from trp_search.records import DataSpec
from trp_search.workloads import pixels
from trp_search.workloads.callables import called
from trp_search.workloads.collection import Collection
from trp_search.workloads.guard import guarded
from trp_search.workloads.images import Shape
from trp_search.workloads.labelled import kind, labelled
from trp_search.workloads.seeds import seeded

_WHERE = "workload.data"
_LOOKED_AT = 8  # images of a part, before the first is needed


@final
class Given(Collection):
    """What `package.module:callable` returns for its options: (training, held-out).

    Each is a pair of uint8 images and labels, or a data set of (image, label); an image is a PIL
    image or uint8 (c, h, w). Channels may come last if that is unambiguous. A data set's labels are
    read from its `targets` if it has them, so that only chosen images are decoded; a
    `target_transform` is applied to them, and the label of each image read must agree.
    """

    def __init__(self, spec: DataSpec) -> None:
        result = called(spec.name, spec.options, where=_WHERE)
        if not isinstance(result, tuple | list) or len(result) != 2:
            raise InputError(f"{_WHERE}: {spec.name} returned no pair (training, held-out)")
        self._spec = spec
        with guarded(f"{_WHERE}: {spec.name}"):
            self._parts = [labelled(part, spec.name) for part in result]
        self.labels = torch.cat([part.labels for part in self._parts])
        self.training = len(self._parts[0].labels)
        training, held_out = (part.labels for part in self._parts)
        classes = _classes(training, held_out, spec)
        channels, height, width = self.read(self._sample()).shape[1:]
        self.shape = Shape(channels=channels, height=height, width=width, classes=classes)

    @override
    def read(self, ids: Tensor) -> Tensor:
        with guarded(f"{_WHERE}: {self._spec.name}"):
            return pixels.stacked(self._image(number) for number in ids.tolist())

    def _sample(self) -> Tensor:
        """The first image and some of each part, so that most mistakes show at once."""
        drawn = {0}
        for first, part in zip((0, self.training), self._parts, strict=True):
            order = torch.randperm(len(part.labels), generator=seeded("sample"))
            drawn.update((first + order[:_LOOKED_AT]).tolist())
        return torch.tensor(sorted(drawn))

    def _image(self, number: int) -> Tensor:
        held_out = number >= self.training
        image = self._parts[held_out].image(number - self.training if held_out else number)
        where = f"{_WHERE}: image {number} of {self._spec.name}"
        size = self._spec.image_size
        if isinstance(image, Image.Image) and all(image.size):
            channels = self._spec.channels or (1 if pixels.is_grey(image) else 3)
            try:
                return pixels.from_pil(image, channels=channels, size=size)
            except InputError as error:
                raise InputError(f"{where}: {error}") from None
            except Exception as error:  # a file that is decoded only now
                raise InputError(f"{where} raised {one_line(error)}") from error
        if isinstance(image, np.ndarray) and image.dtype == np.uint8:
            image = torch.tensor(np.ascontiguousarray(image))
        if isinstance(image, Tensor) and image.dtype == torch.uint8 and _is_plane(image.shape):
            if _has_alpha(image.shape):
                shape = tuple(image.shape)
                raise InputError(f"{where} is uint8 {shape}: drop its alpha, or give (c, h, w)")
            return self._brought(_channels_first(image[None])[0])
        raise InputError(f"{where} is {kind(image)}, not a PIL image or a uint8 tensor (c, h, w)")

    def _brought(self, image: Tensor) -> Tensor:
        """uint8 (c, h, w) with the channels and size asked for; given images may differ in both."""
        channels, height, width = image.shape
        size = self._spec.image_size
        return pixels.fitted(
            image[None],
            channels=self._spec.channels or channels,
            size=(size or height, size or width),
        )[0]


def _is_plane(shape: torch.Size) -> bool:
    return len(shape) in (2, 3) and all(shape)


def _has_alpha(shape: torch.Size) -> bool:
    """Whether it looks like (h, w, grey or colour and alpha)."""
    return len(shape) == 3 and shape[2] in (2, 4) and shape[0] > 4


def _channels_first(images: Tensor) -> Tensor:
    """(n, c, h, w) of uint8 (n, h, w), (n, c, h, w) or (n, h, w, 1 or 3)."""
    if images.dim() == 3:
        return images.unsqueeze(1)
    last = images.shape[3] in (1, 3) and images.shape[1] not in (1, 3)
    return images.permute(0, 3, 1, 2) if last else images


def _classes(training: Tensor, held_out: Tensor, spec: DataSpec) -> int:
    """How many classes there are, as far as labels can tell."""
    last, beyond = int(training.max()), int(held_out.max())
    if spec.classes is not None and max(last, beyond) >= spec.classes:
        found = max(last, beyond) + 1
        raise InputError(f"{_WHERE}.classes: {spec.classes} is less than the {found} labelled")
    if int(training.min()) == last:
        raise InputError(f"{_WHERE}: every training image of {spec.name} has the label {last}")
    if spec.classes is not None:
        return spec.classes
    if beyond > last:
        raise InputError(
            f"{_WHERE}.classes: {spec.name}'s training labels end at {last} and held-out ones "
            f"at {beyond}; give the number of classes"
        )
    if last >= len(training):
        raise InputError(
            f"{_WHERE}.classes: {spec.name}'s labels end at {last} in {len(training)} images; "
            "give the number of classes"
        )
    return last + 1
