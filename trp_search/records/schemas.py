"""What a type's JSON schema allows at the place of an error, so that bounds are stated once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Schema = dict[str, Any]

# pydantic's types of errors for numbers that are out of bounds.
OUT_OF_BOUNDS = {
    "greater_than",
    "greater_than_equal",
    "less_than",
    "less_than_equal",
    "finite_number",
}


def follow(schema: Schema, loc: Sequence[int | str]) -> tuple[str, list[Schema]]:
    """The key path of an error's location and the schemas that hold there.

    A location also names pydantic's own alternatives (`<range>`, `nullable`, `int`), which are left
    out.
    """
    definitions = schema.get("$defs", {})
    path, nodes = "", _unfold([schema], definitions)
    for part in loc:
        below = _unfold(_children(nodes, part), definitions)
        if below:
            path, nodes = join(path, part), below
    return path, nodes


def join(path: str, part: int | str) -> str:
    """The path of `part` within `path`."""
    if isinstance(part, int):
        return f"{path}[{part}]"
    return f"{path}.{part}" if path else part


def interval(node: Schema) -> str:
    """The bounds of a number: `in (0, 1]`, `at least 1`; empty without bounds."""
    above, least = node.get("exclusiveMinimum"), node.get("minimum")
    below, most = node.get("exclusiveMaximum"), node.get("maximum")
    low, high = (least if above is None else above), (most if below is None else below)
    if low is not None and high is not None:
        return f"in {'[' if above is None else '('}{low}, {high}{']' if below is None else ')'}"
    if low is not None:
        return f"at least {low}" if above is None else f"above {low}"
    if high is not None:
        return f"at most {high}" if below is None else f"below {high}"
    return ""


def _children(nodes: list[Schema], part: int | str) -> list[Schema]:
    if isinstance(part, int):
        return [node["items"] for node in nodes if "items" in node]
    if part.startswith("<"):
        return []
    return [child for node in nodes if (child := _property(node, part)) is not None]


def _property(node: Schema, name: str) -> Schema | None:
    other = node.get("additionalProperties")
    known: Schema | None = node.get("properties", {}).get(name)
    return known if known is not None or not isinstance(other, dict) else other


def _unfold(nodes: list[Schema], definitions: dict[str, Schema]) -> list[Schema]:
    """`nodes` with every reference and alternative resolved."""
    out: list[Schema] = []
    for node in nodes:
        if "$ref" in node:
            inner = [definitions[node["$ref"].rpartition("/")[2]]]
        else:
            inner = node.get("anyOf") or node.get("oneOf") or []
        out += _unfold(inner, definitions) if inner else [node]
    return out
