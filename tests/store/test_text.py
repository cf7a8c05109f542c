from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trp_search.errors import InputError
from trp_search.store import text

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


def _ten_times(levels: int) -> str:
    """Lists of ten aliases of the list before: ten to the power of `levels` words."""
    rows = [f"x{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, levels)]
    return "\n".join(["x0: &a0 [a, a, a, a, a, a, a, a, a, a]", *rows])


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        (_ten_times(10), "line 5: holds too much, its aliases written out"),
        ("t: &t " + 9_999 * "long " + "\nx: [" + 200 * "*t, " + "]", "line 2: holds too much"),
        ("x: [" + 30_000 * "a, " + "]", "line 1: holds too much"),
        ("x: &x {y: [*x]}", "line 1: *x stands in itself"),
        ("x: " + 20_000 * "[", "line 1: nested too deeply"),
        ("x: " + 300_000 * "1", "line 1: a number is too long"),
        ("x: 0" + 300_000 * "7", "line 1: a number is too long"),
        ("x: !!int '1" + 99_999 * ":1" + "'", "line 1: tag:yaml.org,2002:int is no plain value"),
        ("x: !!python/object/apply:os.system [ls]", "os.system is no plain value"),
        ("#" + 1_000_000 * "x", "is longer than 1,000,000 bytes"),
    ],
    ids=["aliases", "texts", "nodes", "itself", "deep", "digits", "octal", "tag", "code", "long"],
)
def test_what_would_take_much_more_than_its_file_is_refused_before_it_is_built(
    tmp_path, written, problem
):
    path = tmp_path / "x.yaml"
    path.write_text(written)
    with pytest.raises(InputError) as caught:
        text.read_mapping(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert problem in str(caught.value)


def test_an_alias_or_two_are_fine(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text("a: &range {low: 0.6, high: 0.9}\nb: *range\nc: [*range]\n")
    found = text.read_mapping(path)
    assert found["a"] == found["b"] == found["c"][0] == {"low": 0.6, "high": 0.9}
