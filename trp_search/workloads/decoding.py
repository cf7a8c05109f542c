"""Decodes an image file: upright, 8 bits a channel, or refused by name."""

from __future__ import annotations

import warnings
from contextlib import suppress
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

from trp_search.errors import InputError, one_line
from trp_search.workloads import pixels
from trp_search.workloads.listing import shown

# By content; Pillow's others are no pictures of pixels, and some run other programs.
_FORMATS = ("JPEG", "PNG", "BMP", "DIB", "GIF", "WEBP", "AVIF", "TIFF", "PPM", "JPEG2000")


def decoded(path: Path, *, channels: int) -> Image.Image:
    """The (first) picture in the file `path`, grey or in colour, with EXIF orientation applied.

    Raises:
        InputError: whatever Pillow raised; more pixels than `PIL.Image.MAX_IMAGE_PIXELS`, before
            they are decoded; or `pixels.converted` refuses it.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what stands beside the pixels
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return _decoded(path, channels)
    except Exception as error:  # noqa: BLE001  decoders raise what they like on damaged files
        raise InputError(f"{shown(path)}: cannot be read as an image: {_words(error)}") from None


def _decoded(path: Path, channels: int) -> Image.Image:
    Image.init()
    known = [name for name in _FORMATS if name in Image.OPEN]
    with Image.open(path, formats=known) as image:
        image.load()
        with suppress(Exception):  # damaged EXIF turns nothing; the pixels are whole
            ImageOps.exif_transpose(image, in_place=True)
        return pixels.converted(image, channels=channels)


def _words(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "its content is of no known kind"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    bomb = isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning)
    spoken = bomb or isinstance(error, OSError | SyntaxError | InputError)
    return " ".join(str(error).split()) if spoken else one_line(error)
