"""Spaces from their text, and what is said of a text that is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from trp_search.errors import InputError
from trp_search.space import SearchSpace, load_space


def loaded(folder: Path, text: str) -> SearchSpace:
    """The space of a file with this text."""
    path = folder / "x.yaml"
    path.write_text(text)
    return load_space(path)


def refusal(folder: Path, text: str) -> str:
    """What is said of the file, after its path."""
    with pytest.raises(InputError) as caught:
        loaded(folder, text)
    path, said = f"{folder / 'x.yaml'}: ", str(caught.value)
    assert said.startswith(path), said
    return said.removeprefix(path)
