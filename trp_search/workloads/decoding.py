"""Decodes an image file: upright, 8 bits a channel, or refused by name."""

from __future__ import annotations

import warnings
from pathlib import Path

from PIL import ExifTags, Image, UnidentifiedImageError

from trp_search.errors import InputError, one_line
from trp_search.workloads import pixels
from trp_search.workloads.listing import shown

# By content; Pillow's others are no pictures of pixels, and some run other programs.
_FORMATS = ("JPEG", "PNG", "BMP", "DIB", "GIF", "WEBP", "AVIF", "TIFF", "PPM", "JPEG2000")
_TURNS = {  # EXIF 2.32, tag Orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


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
        picture = pixels.converted(image, channels=channels)
        turn = _TURNS.get(_orientation(image))
    return picture if turn is None else picture.transpose(turn)


def _orientation(image: Image.Image) -> int:
    try:
        found = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # noqa: BLE001  damaged EXIF turns nothing; the pixels are whole
        return 1
    return found if isinstance(found, int) else 1


def _words(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "its content is of no known kind"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    bomb = isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning)
    spoken = bomb or isinstance(error, OSError | SyntaxError | InputError)
    return " ".join(str(error).split()) if spoken else one_line(error)
