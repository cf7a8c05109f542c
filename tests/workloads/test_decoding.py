"""A file to 8-bit pixels the right way up, or one line that names it."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps, PngImagePlugin

from trp_search.errors import InputError
from trp_search.workloads.decoding import decoded

GREY = np.arange(256, dtype=np.uint8).reshape(16, 16)
COLOUR = np.stack([GREY, GREY[::-1], GREY.T], -1)


def png(width: int, height: int, *, depth: int, colour: int, rows: bytes) -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def deep(mode: str) -> Image.Image:
    """GREY times 257, which is all of 16 bits."""
    kinds = {"I;16": "<u2", "I;16B": ">u2", "I": "<i4"}
    return Image.frombytes(
        mode, (16, 16), (GREY.astype(np.uint32) * 257).astype(kinds[mode]).tobytes()
    )


@pytest.mark.parametrize(
    ("name", "image"),
    [
        ("x.png", Image.fromarray(GREY)),
        ("x.png", deep("I;16")),
        ("x.png", deep("I;16B")),
        ("x.jp2", deep("I;16")),
        ("x.pgm", deep("I;16")),
        ("x.tif", deep("I;16")),
        ("x.tif", deep("I;16B")),
        ("x.tif", deep("I")),
        ("x.tif", Image.fromarray((GREY / 255).astype(np.float32))),
        ("x.pfm", Image.fromarray((GREY / 255).astype(np.float32))),
        ("x.png", Image.fromarray(GREY).convert("LA")),
    ],
)
def test_grey_of_any_depth_is_the_same_grey(tmp_path, name, image):
    image.save(tmp_path / name)
    assert np.array_equal(np.asarray(decoded(tmp_path / name, channels=1)), GREY)
    assert np.array_equal(
        np.asarray(decoded(tmp_path / name, channels=3)), np.repeat(GREY[..., None], 3, -1)
    )


def test_deep_images_keep_their_brightness_against_each_other(tmp_path):
    for name, white in (("dark.png", 25700), ("light.png", 51400)):
        Image.fromarray(np.full((4, 4), white, np.uint16)).save(tmp_path / name)
    dark, light = (decoded(tmp_path / name, channels=1) for name in ("dark.png", "light.png"))
    assert (dark.getextrema(), light.getextrema()) == ((100, 100), (200, 200))


def test_colour_of_16_bits_is_read(tmp_path):
    rows = b"".join(b"\0" + (row.astype(">u2") * 257).astype(">u2").tobytes() for row in COLOUR)
    (tmp_path / "x.png").write_bytes(png(16, 16, depth=16, colour=2, rows=rows))
    assert np.array_equal(np.asarray(decoded(tmp_path / "x.png", channels=3)), COLOUR)


@pytest.mark.parametrize("transparency", [3, bytes([0, 100, 200])])
def test_a_palette_s_transparency_is_dropped(tmp_path, transparency):
    palette = Image.fromarray(GREY).quantize(16)
    palette.save(tmp_path / "x.png", transparency=transparency)
    expected = palette.convert("RGB")
    assert decoded(tmp_path / "x.png", channels=3).tobytes() == expected.tobytes()
    assert decoded(tmp_path / "x.png", channels=1).tobytes() == palette.convert("L").tobytes()


@pytest.mark.parametrize(
    ("name", "mode"),
    [("x.tif", "CMYK"), ("x.jpg", "CMYK"), ("x.png", "1"), ("x.png", "RGBA"), ("x.jfif", "RGB")],
)
def test_other_kinds_are_what_pillow_makes_of_them(tmp_path, name, mode):
    Image.fromarray(COLOUR).convert(mode).save(tmp_path / name)
    expected = Image.open(tmp_path / name).convert("RGB")
    assert decoded(tmp_path / name, channels=3).tobytes() == expected.tobytes()


@pytest.mark.parametrize("name", ["x.jpg", "x.png", "x.webp", "x.tif"])
def test_an_image_is_turned_as_its_exif_says(tmp_path, name):
    picture = Image.fromarray(COLOUR[:10])
    for orientation in range(10):
        exif = Image.Exif()
        exif[0x0112] = orientation
        picture.save(tmp_path / name, exif=exif)
        expected = ImageOps.exif_transpose(Image.open(tmp_path / name)).convert("RGB")
        found = decoded(tmp_path / name, channels=3)
        assert found.size == expected.size == ((10, 16) if orientation in range(5, 9) else (16, 10))
        assert found.tobytes() == expected.tobytes()


def test_damaged_exif_turns_nothing(tmp_path):
    damaged = b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01"
    Image.fromarray(COLOUR[:10]).save(tmp_path / "x.jpg", exif=damaged)
    assert decoded(tmp_path / "x.jpg", channels=3).size == (16, 10)


def save_text(path):
    text = PngImagePlugin.PngInfo()
    text.add_text("k", "A" * 3 * 2**20, zip=True)
    Image.new("RGB", (2, 2)).save(path, pnginfo=text)


def save_floats(path, *, high):
    Image.fromarray(np.array([[0, high]], np.float32)).save(path)


def save_numbers(path, *values):
    Image.fromarray(np.array([values], np.int32)).save(path)


LARGE = "could be decompression bomb DOS attack."


@pytest.mark.parametrize(
    ("name", "write", "problem"),
    [
        ("x.png", lambda path: path.write_bytes(b""), "its content is of no known kind"),
        ("x.png", lambda path: path.write_text("text"), "its content is of no known kind"),
        ("x.png", lambda path: path.write_text("%!PS-Adobe-3.0 EPSF-3.0\n"), "no known kind"),
        ("x.png", lambda path: path.mkdir(), "Is a directory"),
        ("x.png", lambda path: path.symlink_to("nowhere"), "No such file or directory"),
        ("x.png", lambda path: path.symlink_to(path), "Too many levels of symbolic links"),
        ("x.png", save_text, "ValueError: Decompressed data too large"),
        (
            "x.ppm",
            lambda path: path.write_bytes(b"P6\n16 x6\n255\n" + bytes(768)),
            "ValueError: invalid literal for int()",
        ),
        (
            "x.png",
            lambda path: path.write_bytes(png(16, 16, depth=8, colour=2, rows=bytes(100))),
            "image file is truncated",
        ),
        (
            "x.png",
            lambda path: path.write_bytes(png(20000, 20000, depth=1, colour=0, rows=b"")),
            LARGE,
        ),
        (
            "x.png",
            lambda path: path.write_bytes(png(10000, 10000, depth=1, colour=0, rows=b"")),
            LARGE,
        ),
        ("x.tif", lambda path: save_floats(path, high=255), "its pixels go from 0.0 to 255.0, "),
        ("x.tif", lambda path: save_floats(path, high=np.nan), "its pixels go from nan to nan, "),
        (
            "x.tif",
            lambda path: save_numbers(path, 0, 65536),
            "its pixels go from 0 to 65536, and white is 65535; save it with 8 bits",
        ),
        ("x.tif", lambda path: save_numbers(path, -1, 65535), "its pixels go from -1 to 65535, "),
        ("x.tif", lambda path: save_numbers(path, 0, 255), "its pixels go from 0 to 255, "),
    ],
)
def test_what_cannot_be_read_is_named_in_one_line(tmp_path, name, write, problem):
    write(tmp_path / name)
    with pytest.raises(InputError) as caught:
        decoded(tmp_path / name, channels=3)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / name}: cannot be read as an image: ")
    assert problem in message
    assert "\n" not in message


def test_a_name_that_is_not_utf_8_is_shown(tmp_path):
    path = tmp_path / b"\xe9t\xe9.png".decode("utf-8", "surrogateescape")
    with pytest.raises(InputError) as caught:
        decoded(path, channels=3)
    assert str(caught.value).startswith(f"{tmp_path}/\\xe9t\\xe9.png: ")
