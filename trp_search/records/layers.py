"""Which layers may be cut: words, and patterns of names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema
from typing_extensions import override

AUTO = "auto"
# `kxk` is the TRP authors' choice: each convolution wider than 1x1 but the first.
WORDS = (AUTO, "kxk", "all")


class Unselected(str):
    """Why a layer stays dense that no word or pattern selects."""

    __slots__ = ()


@dataclass(frozen=True, kw_only=True)
class Selection:
    """A parsed choice of layers.

    Attributes:
        word: one of `WORDS`; None selects the included layers alone.
        include: patterns of further layers.
        exclude: patterns of layers that stay dense in any case.
    """

    word: str | None
    include: tuple[str, ...]
    exclude: tuple[str, ...]

    @staticmethod
    def of(text: str) -> Selection:
        """The selection of `Layers`; raises ValueError if it says nothing, or two words."""
        parts = [part.strip() for part in text.split(",")]
        words = [part for part in parts if part in WORDS]
        exclude = tuple(part[1:].strip() for part in parts if part.startswith("!"))
        include = tuple(part for part in parts if part not in WORDS and not part.startswith("!"))
        if not all((*include, *exclude)) or len(words) > 1:
            raise ValueError(
                f"{text!r} is not one of {', '.join(WORDS)}, nor a list of one of them, names and "
                "patterns to include, and patterns to exclude after a !"
            )
        word = words[0] if words else None if include else AUTO
        return Selection(word=word, include=include, exclude=exclude)

    @override
    def __str__(self) -> str:
        word = () if self.word is None else (self.word,)
        return ", ".join([*word, *self.include, *(f"!{one}" for one in self.exclude)])

    def why_not(self, name: str, *, outside: str | None) -> str | None:
        """Why the layer `name` is not selected, None if it is.

        Args:
            name: dotted, of the module.
            outside: why the word does not select it, None if it does.
        """
        for pattern in self.exclude:
            if matches(name, pattern):
                return f"excluded by {pattern}"
        if any(matches(name, pattern) for pattern in self.include):
            return None
        return Unselected("not selected") if self.word is None else outside

    def foreign(self, names: Iterable[str]) -> str | None:
        """A sentence on the first pattern that matches none of `names`, or None."""
        known = list(names)
        for pattern in (*self.include, *self.exclude):
            if not any(matches(name, pattern) for name in known):
                close = difflib.get_close_matches(pattern, known, n=1, cutoff=0.0)
                hint = f"; the nearest is {close[0]}" if close else ""
                return f"{pattern!r} matches no convolution or linear layer{hint}"
        return None


def matches(name: str, pattern: str) -> bool:
    """Whether a shell pattern matches a dotted name, or a module that holds it."""
    parts = name.split(".")
    return any(fnmatchcase(".".join(parts[:end]), pattern) for end in range(len(parts), 0, -1))


def _as_text(raw: object) -> object:
    """A mapping `{include: [...], exclude: [...]}` as text; anything else as it is."""
    if not isinstance(raw, Mapping):
        return raw
    if not raw or raw.keys() - {"include", "exclude"}:
        raise ValueError(f"a mapping has include and exclude, not {', '.join(map(str, raw))}")
    lists = {key: [one] if isinstance(one, str) else one for key, one in raw.items()}
    for key, patterns in lists.items():
        if not isinstance(patterns, list | tuple) or not all(isinstance(p, str) for p in patterns):
            raise ValueError(f"{key}: {patterns!r} is not a list of patterns")
    return ", ".join([*lists.get("include", ()), *(f"!{one}" for one in lists.get("exclude", ()))])


def _checked(text: str) -> str:
    return str(Selection.of(text))


# `auto`, `kxk`, `all`, or a list in one line: `all, !head, !stem.*`.
Layers = Annotated[
    str,
    BeforeValidator(_as_text),
    AfterValidator(_checked),
    WithJsonSchema({"anyOf": [{"enum": list(WORDS)}, {"type": "string"}]}),
]
