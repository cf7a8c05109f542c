"""Layers of many blocks as one row: names that differ only in the number of their block."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence

_NUMBER = re.compile(r"\d+")


def patterns(names: Sequence[str]) -> dict[str, list[str]]:
    """The names under each pattern, in order: the number that varies most is a star.

    >>> patterns(["stem", "blocks.0.fc1", "blocks.0.fc2", "blocks.1.fc1", "blocks.1.fc2"])
    {'stem': ['stem'], 'blocks.*.fc1': ['blocks.0.fc1', 'blocks.1.fc1'], \
'blocks.*.fc2': ['blocks.0.fc2', 'blocks.1.fc2']}
    """
    alike: dict[str, list[list[str]]] = defaultdict(list)
    for name in names:
        alike[_NUMBER.sub("#", name)].append(_NUMBER.findall(name))
    starred = {form: _starred(numbers) for form, numbers in alike.items()}
    found: dict[str, list[str]] = defaultdict(list)
    for name in names:
        found[_with_star(name, starred[_NUMBER.sub("#", name)])].append(name)
    return dict(found)


def _starred(numbers: Sequence[Sequence[str]]) -> int | None:
    """The position of the number with the most values, the first of several; None if none vary."""
    counts = [len(set(column)) for column in zip(*numbers, strict=True)]
    return counts.index(max(counts)) if counts and max(counts) > 1 else None


def _with_star(name: str, position: int | None) -> str:
    if position is None:
        return name
    number = list(_NUMBER.finditer(name))[position]
    return f"{name[: number.start()]}*{name[number.end() :]}"
