"""Records as JSON, both ways, and validation errors in words."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from trp_search.records.kinds import NAME

T = TypeVar("T")
_LIKE_A_NAME = {
    rf"String should match pattern '{NAME}'": "a name is letters, digits and _ . + -, a letter or "
    "digit first"
}

# As a search space's are told: type of the error, its bound's name, and the word.
_BOUNDS = {
    "greater_than": ("gt", "above"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "below"),
    "less_than_equal": ("le", "at most"),
}


def to_json(record: object) -> str:
    """The record as one line of JSON."""
    return TypeAdapter(type(record)).dump_json(record).decode()


def to_dict(record: object) -> dict[str, Any]:
    """The record as plain JSON values."""
    value: dict[str, Any] = TypeAdapter(type(record)).dump_python(record, mode="json")
    return value


def from_json(kind: type[T], text: str | bytes) -> T:
    """A record of `kind`; raises `pydantic.ValidationError` (a ValueError) if it is none."""
    return TypeAdapter(kind).validate_json(text)


def problem(error: ValueError) -> str:
    """The first validation error: field, value given, what is allowed."""
    if not isinstance(error, ValidationError):
        return " ".join(str(error).split())
    first = error.errors(include_url=False)[0]
    message = _LIKE_A_NAME.get(first["msg"], first["msg"]).removeprefix("Value error, ")
    place = ".".join(map(str, first["loc"]))[:160]
    if not place:
        return message
    given = first["input"]
    if first["type"] in _BOUNDS:
        bound, word = _BOUNDS[first["type"]]
        return f"{place}: {given!r:.80} is not {word} {first['ctx'][bound]:g}"
    plain = given is None or isinstance(given, str | int | float)  # a section says little
    value = f"{given!r:.80}: " if plain and first["type"] != "missing" else ""
    return f"{place}: {value}{message[0].lower()}{message[1:]}"
