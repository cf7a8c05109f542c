"""pydantic's errors as one line: key path, value given, what is allowed.

Allowed values are read from the model's JSON schema, so they are stated once.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from trp_search.records.json import NAMED
from trp_search.records.schemas import OUT_OF_BOUNDS, Schema, follow, interval, join

_UNKNOWN = {"extra_forbidden", "unexpected_keyword_argument"}
_NOT_A_MAPPING = {"model_type", "model_attributes_type", "dataclass_type", "dict_type"}
_WHY = {"resources.gpus": "a trial trains on one device"}


def describe(error: ValidationError, model: type[BaseModel]) -> str:
    """The first problem; an unknown key comes before the missing one it may stand for."""
    problems = error.errors(include_url=False)
    unknown = [problem for problem in problems if _is_unknown(problem)]
    problem = (unknown or problems)[0]
    schema = model.model_json_schema()
    loc = [part for part in problem["loc"] if part != "[key]"]
    where, nodes = follow(schema, loc[:-1] if unknown else loc)
    if unknown:
        where = join(where, str(loc[-1]))
    line = f"{where}: {_sentence(problem, nodes, str(loc[-1]) if loc else '')}"
    return f"{line}: {_WHY[where]}" if where in _WHY else line


def _is_unknown(problem: Mapping[str, Any]) -> bool:
    return problem["type"] in _UNKNOWN or problem["loc"][-1:] == ("[key]",)


def _sentence(problem: Mapping[str, Any], nodes: list[Schema], key: str) -> str:
    kind, given = problem["type"], _shown(problem.get("input"))
    if _is_unknown(problem):
        return f"unknown key; {_nearest(key, _keys(nodes))}"
    if kind == "missing":
        return f"is missing; it takes {_allowed(nodes)}"
    if kind == "value_error":
        return str(problem["ctx"]["error"])
    if kind == "string_pattern_mismatch":
        return f"{given}: {NAMED}"
    if kind == "too_short":
        return "an empty list leaves nothing to choose from"
    if kind in _NOT_A_MAPPING:
        mappings = [node for node in nodes if node.get("type") == "object"]
        return f"{given} is not {_allowed(mappings)}"
    if kind in OUT_OF_BOUNDS:
        finite = kind != "finite_number"
        return f"{given} is not {_allowed(nodes, noun=False) if finite else 'a finite number'}"
    lists = ", or a list of such values" if kind == "union_tag_invalid" else ""
    return f"{given} is not {_allowed(nodes)}{lists}"


def _shown(value: object) -> str:
    """`value` as a user wrote it, shortened."""
    text = f"'{value}'" if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _nearest(key: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    return f"did you mean {close[0]}?" if close else f"known keys: {', '.join(known)}"


def _keys(nodes: list[Schema]) -> list[str]:
    keys = [
        key
        for node in nodes
        for key in (node.get("properties") or node.get("propertyNames", {}).get("enum", []))
    ]
    return list(dict.fromkeys(keys))


def _allowed(nodes: list[Schema], *, noun: bool = True) -> str:
    """What `nodes` allow; without `noun` only the bounds."""
    plain = [node for node in nodes if node.get("type") not in ("object", "array", "null")]
    if plain:
        noun = noun or len(plain) > 1
        return " or ".join(dict.fromkeys(_phrase(node, noun=noun) for node in plain))
    if keys := _keys(nodes):
        return f"a mapping with keys among {', '.join(keys)}"
    return "a list" if any("items" in node for node in nodes) else "a mapping"


def _phrase(node: Schema, *, noun: bool) -> str:
    if "enum" in node:
        return f"one of {', '.join(map(str, node['enum']))}"
    if "const" in node:
        return str(node["const"])
    kind = node.get("type")
    if kind in ("integer", "number"):
        word = "a whole number" if kind == "integer" else "a number"
        return f"{word} {interval(node)}".strip() if noun else interval(node)
    return {"boolean": "true or false", "string": "text"}.get(str(kind), "")
