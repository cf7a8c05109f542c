from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trp_search.space import text

PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
NESTED = st.recursive(
    PLAIN, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8
)


@given(st.dictionaries(st.text(), NESTED))
def test_what_is_written_is_read_again(tmp_path_factory, value):
    path = tmp_path_factory.mktemp("yaml") / "x.yaml"
    path.write_text(text.write_mapping(value), encoding="utf-8", newline="")
    assert text.read_mapping(path) == value


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("1e-5", 1e-5),
        ("1.0e-05", 1e-5),
        (".5", 0.5),
        ("3", 3),
        ("on", "on"),
        ("no", "no"),
        ("1:30", "1:30"),
        ("2024-01-01", "2024-01-01"),
        ("true", True),
        ("null", None),
        ("", None),
    ],
)
def test_words_mean_what_they_look_like(tmp_path, word, value):
    path = tmp_path / "x.yaml"
    path.write_text(f"key: {word}\n")
    assert text.read_mapping(path) == {"key": value}
