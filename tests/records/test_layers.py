"""Which layers may be cut: words and patterns."""

import pytest
from pydantic import TypeAdapter, ValidationError

from trp_search.records import Layers, Selection

NAMES = ["stem.0", "blocks.0.fc1", "blocks.0.fc2", "blocks.1.fc1", "head"]


def chosen(text):
    selection = Selection.of(TypeAdapter(Layers).validate_python(text))
    return [name for name in NAMES if selection.why_not(name, outside=None) is None]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("all", NAMES),
        ("auto, !head", NAMES[:-1]),
        ({"exclude": ["head", "stem.*"]}, NAMES[1:-1]),
        ({"include": ["blocks.*.fc1"]}, ["blocks.0.fc1", "blocks.1.fc1"]),
        ({"include": ["blocks"], "exclude": ["blocks.1"]}, ["blocks.0.fc1", "blocks.0.fc2"]),
        ("blocks.0", ["blocks.0.fc1", "blocks.0.fc2"]),
    ],
)
def test_a_name_stands_for_all_below_it_and_what_is_excluded_stays(given, expected):
    assert chosen(given) == expected


@pytest.mark.parametrize("given", ["all", "kxk, head, !stem", {"exclude": ["a", "b.*"]}])
def test_text_is_read_as_it_is_written(given):
    text = TypeAdapter(Layers).validate_python(given)
    assert str(Selection.of(text)) == text == TypeAdapter(Layers).validate_python(text)


@pytest.mark.parametrize("given", ["", "all, kxk", "all,, !a", "!", {"exclude": 3}, {"only": []}])
def test_what_is_no_choice_is_refused(given):
    with pytest.raises(ValidationError):
        TypeAdapter(Layers).validate_python(given)


def test_a_pattern_that_matches_nothing_is_named_with_the_nearest_layer():
    assert Selection.of("all, !haed").foreign(NAMES) == (
        "'haed' matches no convolution or linear layer; the nearest is head"
    )
