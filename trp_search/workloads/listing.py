"""Which files below a folder are images, and which are skipped."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from trp_search.errors import InputError

# What Pillow decodes by itself; the name says what is an image, the content how it is decoded.
_SUFFIXES = frozenset(
    (
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".bmp", ".dib", ".gif", ".webp"),
        *(".avif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".pfm"),
        *(".jp2", ".j2k", ".jpx", ".jpf", ".jpc", ".j2c"),
    )
)


@dataclass(frozen=True, kw_only=True)
class Passed:
    """`count` entries below the folder `where` that are not read, and why."""

    where: str
    why: str
    count: int


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The images below a folder, sorted, and how many entries are skipped for each reason."""

    images: list[Path]
    passed: Counter[str]


def listed(folder: Path) -> Listing:
    """The images below `folder`, at any depth; links to folders are not followed."""
    images: list[Path] = []
    passed: Counter[str] = Counter()
    waiting = [folder]
    while waiting:
        for entry in _entries(waiting.pop()):
            if entry.name.startswith("."):
                passed["hidden"] += 1
            elif entry.is_dir(follow_symlinks=False):
                waiting.append(Path(entry))
            elif why := _unread(entry):
                passed[why] += 1
            else:
                images.append(Path(entry))
    return Listing(images=sorted(images), passed=passed)


def subfolders(folder: Path) -> list[str]:
    """The names of the folders in `folder` that are not hidden, sorted; links are followed."""
    return sorted(
        entry.name
        for entry in _entries(folder)
        if _is_folder(entry) and not entry.name.startswith(".")
    )


def beside(folder: Path) -> Counter[str]:
    """Files in `folder` itself, beside its subfolders, as `Listing.passed`."""
    return Counter(
        "hidden" if entry.name.startswith(".") else "in no class"
        for entry in _entries(folder)
        if entry.name.startswith(".") or not _is_folder(entry)
    )


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    """The entries of `folder` itself."""
    try:
        with os.scandir(folder) as found:
            yield from found
    except OSError as error:
        raise InputError(f"{shown(folder)}: cannot be listed: {error.strerror}") from None


def shown(path: Path | str) -> str:
    r"""A name as text that any terminal and file takes: bytes that are no UTF-8 as `\xe9`."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _unread(entry: os.DirEntry[str]) -> str:
    """Why `entry`, which is no folder, is not read as an image; empty if it is."""
    if _is_folder(entry):
        return "link to a folder"
    suffix = Path(entry.name).suffix.lower()
    if suffix not in _SUFFIXES:
        return shown(suffix) or "no suffix"
    if entry.is_file(follow_symlinks=False):
        return ""
    try:
        regular = stat.S_ISREG(os.stat(entry).st_mode)  # noqa: PTH116  an entry is no Path
    except OSError:  # a link to nothing: an image that is missing, named when it is read
        return ""
    return "" if regular else "no regular file"  # a pipe would be waited for


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False
