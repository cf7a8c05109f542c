"""Decoded images of one shape: uint8, (c, h, w)."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from trp_search.errors import InputError

_MODES = {1: "L", 3: "RGB"}


def from_pil(image: Image.Image, *, channels: int, size: int | None) -> Tensor:
    """The image in 1 or 3 channels; with `size`, its centre square resized to that side."""
    picture = converted(image, channels=channels)
    if size is not None and picture.size != (size, size):
        picture = _centre(picture, size)
    array = np.array(picture, dtype=np.uint8).reshape(picture.height, picture.width, channels)
    return torch.from_numpy(array).permute(2, 0, 1).contiguous()


def is_grey(image: Image.Image) -> bool:
    """Whether the image is of one channel."""
    return image.mode in ("1", "L") or _is_deep(image)


def converted(image: Image.Image, *, channels: int) -> Image.Image:
    """The image in grey or RGB at 8 bits a channel; transparency is dropped.

    Deeper pixels are scaled by one rule, not by each image's own range, so that relative brightness
    is kept: integers by 65535, floats by 1.

    Raises:
        InputError: pixels outside that range, or integers up to 255 at most, which it would turn
            black.
    """
    picture = _eight_bits(image) if _is_deep(image) else image
    if picture.mode == "P" and "transparency" in picture.info:
        picture = picture.convert("RGBA")  # else Pillow warns of what is dropped
    mode = _MODES[channels]
    return picture if picture.mode == mode else picture.convert(mode)


def _is_deep(image: Image.Image) -> bool:
    return image.mode in ("I", "F") or image.mode.startswith("I;16")


def _eight_bits(image: Image.Image) -> Image.Image:
    values = np.asarray(image)
    whole = image.mode != "F"
    most = 65535 if whole else 1
    low, high = values.min(), values.max()
    fits = low >= 0 and high <= most  # and is no nan
    if not fits or (whole and 0 < high < 256):
        raise InputError(
            f"its pixels go from {low} to {high}, and white is {most}; save it with 8 bits"
        )
    scaled = (values.astype(np.int32) + 128) // 257 if whole else np.rint(values * 255)
    return Image.fromarray(scaled.astype(np.uint8))


def stacked(images: Iterable[Tensor]) -> Tensor:
    """(n, c, h, w) of images of one shape; InputError when they differ."""
    every = list(images)
    channels = sorted({image.shape[0] for image in every})
    if len(channels) > 1:
        raise InputError(
            f"workload.data.channels: images differ in channels ({channels[0]}, {channels[1]}); "
            "set it to 1 or 3, to which they are then converted"
        )
    shapes = {tuple(image.shape[1:]) for image in every}
    if len(shapes) > 1:
        (a, b), (c, d) = sorted(shapes)[:2]
        raise InputError(
            f"workload.data.image_size: images differ in size ({a}x{b}, {c}x{d}); "
            "set it to the side in pixels that they are then resized to"
        )
    return torch.stack(every)


def fitted(pixels: Tensor, *, channels: int, size: tuple[int, int]) -> Tensor:
    """uint8 `pixels` (n, c, h, w) as grey or in colour, stretched to `size` (height, width)."""
    if pixels.shape[1] != channels:
        if {pixels.shape[1], channels} != {1, 3}:
            raise InputError(
                f"workload.data.channels: {channels} cannot be made of {pixels.shape[1]}"
            )
        grey = pixels.float().mean(1, keepdim=True).round().byte()
        pixels = grey.expand(-1, channels, -1, -1)
    if pixels.shape[2:] == size:
        return pixels.contiguous()
    parts = [
        functional.interpolate(part.float(), size, mode="bilinear", antialias=True)
        for part in torch.split(pixels, 1024)
    ]
    return torch.cat([part.round().clamp(0, 255).byte() for part in parts])


def _centre(picture: Image.Image, size: int) -> Image.Image:
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    box = (left, top, left + side, top + side)
    return picture.resize((size, size), Image.Resampling.BILINEAR, box=box)
