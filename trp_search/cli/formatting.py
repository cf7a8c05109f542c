"""Names, amounts and commands as the terminal prints them."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path

PROGRAM = "trp-search"


def command(*words: str | Path) -> str:
    """A command line that works in the current folder, program first."""
    return f"{_program()} {shlex.join(map(_typed, words))}"


def _typed(word: str | Path) -> str:
    """A path that begins with a dash would be read as an option."""
    return f"./{word}" if isinstance(word, Path) and str(word).startswith("-") else str(word)


def _program() -> str:
    called = Path(sys.argv[0])
    if called.name == "__main__.py":
        return "python -m trp_search"
    if called.name != PROGRAM or shutil.which(PROGRAM) == str(called):
        return PROGRAM
    return str(here(called))


def here(path: Path) -> Path:
    """The shortest form of the path from the current folder."""
    current = Path.cwd()
    return path.relative_to(current) if path.is_relative_to(current) and path != current else path


def duration(seconds: float) -> str:
    """`40 ms`, `0.4 s`, `12 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds < 0.0995:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest and minutes < 10 else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes} min" if minutes else f"{hours:,} h"


def clock(seconds: float) -> str:
    """`0:41`, `12:05`, `1:02:03`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def amount(number: int) -> str:
    """Three digits and a unit: `40.6M`, `273k`."""
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            digits = 0 if number >= 100 * size else 1 if number >= 10 * size else 2
            return f"{number / size:.{digits}f}{unit}"
    return f"{number:.0f}"
