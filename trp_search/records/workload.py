"""The workload: a network, its images, its weights."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Any

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass as checked

from trp_search.records.kinds import (
    STRICT,
    PositiveInt,
    TaskName,
)


@checked(frozen=True, kw_only=True, config=STRICT)
class NetworkSpec:
    """The network.

    Attributes:
        name: `resnet20`, `resnet32`, `resnet56`, `small_resnet`, a `torchvision.models` name,
            `timm:NAME` or `package.module:callable`; a name alone may stand for the section.
        options: passed to the constructor or callable that builds it.
    """

    name: str
    options: dict[str, Any] = field(default_factory=dict)


@checked(frozen=True, kw_only=True, config=STRICT)
class DataSpec:
    """The images.

    Attributes:
        name: `digits`, `cifar10`, `cifar100`, `images` (a folder of them) or
            `package.module:callable`; a name alone may stand for the whole section.
        root: folder of the files, if the source has any; `~` and `$VARIABLES` are expanded.
        download: whether torchvision may download the set into `root`.
        classes: number of classes; needed only by `images` of a missing folder and by callables.
        image_size: side in pixels that images are resized to; None keeps the source's own (for
            `images` and a timm network: that network's).
        channels: 1 (grey) or 3 (colour); None is 3 for `images` and a callable's own.
        subset: number of training images to use (a seeded, class-balanced choice); None uses all.
        heldout_subset: the same for the held-out images.
        validation: share of the training images set aside for validation, where the source has no
            images of its own for it.
        mean: subtracted from pixels in [0, 1], per channel; None takes the training images' own
            (ImageNet's when streaming; for `images` and a timm network that network's). Weights
            from outside need what they were trained with.
        std: divides the result, per channel; given together with `mean`.
        augment: whether training images are shifted and mirrored.
        stream: read files through workers instead of holding every image in memory.
        workers: loader processes when streaming.
        options: passed to a callable.
    """

    name: str
    root: str | None = None
    download: bool = False
    classes: PositiveInt | None = None
    image_size: PositiveInt | None = None
    channels: PositiveInt | None = None
    subset: PositiveInt | None = None
    heldout_subset: PositiveInt | None = None
    validation: Annotated[float, Field(gt=0, lt=1)] = 0.1
    mean: tuple[Annotated[float, Field(ge=0, le=1)], ...] | None = None
    std: tuple[Annotated[float, Field(gt=0, le=1)], ...] | None = None
    augment: bool = True
    stream: bool = False
    workers: Annotated[int, Field(ge=0)] = 4
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def learnt(self) -> tuple[object, ...]:
        """What, with the seed, says which images are trained on."""
        return self.subset, self.validation

    @model_validator(mode="after")
    def _mean_with_std(self) -> DataSpec:
        if (self.mean is None) != (self.std is None):
            raise ValueError("mean and std are given together")
        if self.mean is not None and self.std is not None and len(self.mean) != len(self.std):
            raise ValueError("mean and std need one number per channel each")
        return self


@checked(frozen=True, kw_only=True, config=STRICT)
class Workload:
    """A network, its data and the origin of its weights.

    Attributes:
        network: the network.
        data: the images.
        task: what the network is for: `classification`.
        weights: None trains the baseline once; `torchvision` or `timm` (what that library
            publishes) or the path of a file (safetensors, or torch.save's, read without running
            its code) loads them.
    """

    network: NetworkSpec
    data: DataSpec
    task: TaskName = "classification"
    weights: str | None = None
