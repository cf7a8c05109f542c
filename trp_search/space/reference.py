"""Every key of a search space as a document, from the classes that check it.

python -m trp_search.space.reference > docs/search-space.md
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
from typing import Any

from pydantic import BaseModel, TypeAdapter

from trp_search.records import KEEPS, DataSpec, NetworkSpec, Pruning, Training, Workload
from trp_search.space.model import SearchSpace
from trp_search.space.search_fields import Space, TrainingEntries
from trp_search.space.sections import (
    ExtraCuts,
    Patience,
    RankSearch,
    Resources,
    Rungs,
    Sampler,
    Timed,
)
from trp_search.space.settings import TRAINED

_HEAD = """# The keys of a search space

Generated from the classes that check a space. A key that is not listed is an error. An entry under
`space` is a value, a list of values or a range (`{low: 0.8, high: 0.99}`, with `log: true` or
`step: ...` where wanted), or one of these for each scheme
(`{by_scheme: {channel: 20, spatial: [5, 10]}}`). X is the value of its entry.
"""
SECTIONS: list[tuple[str, type[Any], str]] = [
    ("", SearchSpace, "The file"),
    ("workload", Workload, "The workload"),
    ("workload.network", NetworkSpec, "The network"),
    ("workload.data", DataSpec, "The images"),
    ("training", Training, "The recipe of the baseline"),
    ("space", Space, "What varies from trial to trial"),
    (
        "space.training",
        TrainingEntries,
        "A trial's own training; by default the recipe's, but from the baseline's weights a "
        "quarter of its epochs at a fifth of its learning rate",
    ),
    ("sampler", Sampler, "The sampler"),
    ("extra_cuts", ExtraCuts, "Further cuts of trained networks"),
    ("rungs", Rungs, "Early stopping of trials; off unless given"),
    ("patience", Patience, "Early stopping of the search; off unless given"),
    (
        "rank_search",
        RankSearch,
        "Search over ranks of trained networks; off unless given, but for `elastic`",
    ),
    ("target", Timed, "The target of predicted times; off unless given"),
    ("targets", Timed, "Each further target; timed after the last trial"),
    ("resources", Resources, "Resources of one trial"),
]
_PARTS = {name for name, _, _ in SECTIONS if name}


def as_markdown() -> str:
    """The document."""
    parts = [_HEAD]
    for prefix, kind, title in SECTIONS:
        name = f" (`{prefix}`)" if prefix else ""
        parts += [
            f"## {title}{name}\n",
            "| key | what it is | allowed | default |",
            "|---|---|---|---|",
        ]
        parts += [f"| {' | '.join(row)} |" for row in _rows(prefix, kind)]
        parts.append("")
    return "\n".join(parts)


def described(kind: type[Any]) -> dict[str, str]:
    """The description of each attribute in a class's docstring."""
    text = inspect.getdoc(kind) or ""
    _, _, listed = text.partition("Attributes:\n")
    found = re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", listed, re.MULTILINE)
    own = {name: " ".join(words.split()) for name, words in found}
    if kind is Space:
        own |= {name: kept.meaning() for name, kept in KEEPS.items()}
        own |= {f"cut_{name}": f"as `{name}`, for the cut alone" for name in TRAINED}
        default = Pruning.keep
        own[default.key()] += f"; {default.amount} if nothing says how much is kept"
    return described(Training) | own if kind is TrainingEntries else own


def _rows(prefix: str, kind: type[Any]) -> list[list[str]]:
    schema = TypeAdapter(kind).json_schema()
    texts = described(kind)
    rows = []
    for name, field in schema["properties"].items():
        path = f"{prefix}.{name}" if prefix else name
        below = path in _PARTS
        allowed = "see below" if below else _allowed(field, schema.get("$defs", {}))
        default = "" if below else _default(kind, name, schema)
        rows.append([f"`{path}`", _said(texts[name]), allowed, default])
    return rows


def _said(text: str) -> str:
    return re.sub(r"\bNone\b", "`null`", text.rstrip("."))


def _default(kind: type[Any], name: str, schema: dict[str, Any]) -> str:
    if name in schema.get("required", ()):
        return "must be given"
    if kind is Sampler and name != "name":
        return "by the number of trials"
    if issubclass(kind, BaseModel):
        if kind.model_fields[name].default_factory is not None:
            return "the task's metric and `speedup`"
        value = kind.model_fields[name].default
    else:
        value = next(field for field in dataclasses.fields(kind) if field.name == name).default
    if kind is TrainingEntries:
        return "the recipe's"
    if value is None or value is dataclasses.MISSING or value in ((), {}):
        return "none"
    if isinstance(value, tuple):
        return f"`[{', '.join(map(str, value))}]`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _allowed(field: dict[str, Any], parts: dict[str, Any]) -> str:
    """The single values that a field takes; lists and ranges are described once, above."""
    if "$ref" in field:
        return _allowed(parts[field["$ref"].rpartition("/")[2]], parts)
    kinds = field.get("anyOf", field.get("oneOf", []))
    options = [one for one in kinds if one.get("type") != "null"]
    if options:
        alone = [one for one in options if one.get("type") != "array" and "$ref" not in one]
        shown = dict.fromkeys(_allowed(one, parts) for one in alone or options[:1])
        return " or ".join(shown)
    if "enum" in field or "const" in field:
        return ", ".join(f"`{value}`" for value in field.get("enum", [field.get("const")]))
    if field.get("type") == "array":
        return f"a list: {_allowed(field['items'], parts)}" if "items" in field else "a list"
    names = {"integer": "a whole number", "number": "a number", "string": "text"}
    names |= {"boolean": "`true`, `false`", "object": "names and values"}
    return names[field["type"]] + _bounds(field)


def _bounds(field: dict[str, Any]) -> str:
    signs = {
        "exclusiveMinimum": "above",
        "minimum": "from",
        "exclusiveMaximum": "below",
        "maximum": "to",
    }
    said = [f"{word} {field[key]:,.12g}" for key, word in signs.items() if key in field]
    return f" {' '.join(said)}" if said else ""


if __name__ == "__main__":
    sys.stdout.write(as_markdown())
