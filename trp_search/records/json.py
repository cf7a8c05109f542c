"""Records as JSON, both ways, and validation errors in words."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from trp_search.errors import InputError
from trp_search.records.kinds import NAME
from trp_search.records.schemas import OUT_OF_BOUNDS, follow, interval

T = TypeVar("T")
NAMED = "a name is letters, digits and _ . + -, a letter or digit first"
_LIKE_A_NAME = {rf"String should match pattern '{NAME}'": NAMED}


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


def made(kind: type[T], where: str, **fields: Any) -> T:  # noqa: ANN401  of any field
    """A `kind` with these fields; InputError, which begins with `where`, if one cannot be."""
    try:
        return kind(**fields)
    except ValueError as error:
        raise InputError(f"{where}: {problem(error, kind)}") from None


def problem(error: ValueError, kind: Any) -> str:  # noqa: ANN401  a type
    """The first error in validating a `kind`: field, value given, what is allowed."""
    if not isinstance(error, ValidationError):
        return " ".join(str(error).split())
    first = error.errors(include_url=False)[0]
    message = _LIKE_A_NAME.get(first["msg"], first["msg"]).removeprefix("Value error, ")
    place = ".".join(map(str, first["loc"]))[:160]
    if not place:
        return message
    given = first["input"]
    if first["type"] in OUT_OF_BOUNDS:
        place, nodes = follow(TypeAdapter(kind).json_schema(), first["loc"])
        infinite = first["type"] == "finite_number"
        known = () if infinite else dict.fromkeys(filter(None, map(interval, nodes)))
        return f"{place}: {given!r:.80} is not {' or '.join(known) or 'a finite number'}"
    plain = given is None or isinstance(given, str | int | float)  # a section says little
    value = f"{given!r:.80}: " if plain and first["type"] != "missing" else ""
    return f"{place}: {value}{message[0].lower()}{message[1:]}"
