"""YAML in and out: plain values only, every key once, `1e-5` a number and `on` a word.

A file's size in memory is known before it is built: aliases count as if they were expanded.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from typing_extensions import override

from trp_search.errors import InputError

# YAML 1.2's core schema: PyYAML's own rules (1.1) read 1e-5 as text, `no` as false, 1:30 as 90.
_PLAIN = {
    "bool": (r"true|false", "tf"),
    "null": (r"~|null|", "~n"),
    "int": (r"[-+]?[0-9]+", "-+0123456789"),
    "float": (
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.inf|\.nan",
        "-+0123456789.",
    ),
}
_BYTES = 1_000_000
_NODES = 20_000  # a long text counts as a node for each of its first 50 signs, and so on
_SIGNS = 50
_DEPTH = 30
_DIGITS = 50


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, list[Any]] = {}  # noqa: RUF012 - PyYAML's own attribute

    def __init__(self, stream: bytes) -> None:
        super().__init__(stream)
        self._nodes = self._depth = 0
        self._sizes: dict[yaml.Node, int] = {}  # of what is complete

    @override
    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        before = self._nodes
        event: yaml.Event = self.peek_event()  # type: ignore[no-untyped-call]
        self._depth += 1
        self._refuse(self._depth > _DEPTH, "nested too deeply", event)
        tag = getattr(event, "tag", None)
        self._refuse(tag not in (None, "!"), f"{tag} is no plain value", event)
        node = super().compose_node(parent, index)
        assert node is not None
        if isinstance(event, yaml.AliasEvent):
            self._refuse(node not in self._sizes, f"*{event.anchor} stands in itself", event)
            self._nodes += self._sizes[node]
        else:
            text = node.value if isinstance(node, yaml.ScalarNode) else ""
            number = node.tag.endswith((":int", ":float"))
            self._refuse(number and len(text) > _DIGITS, "a number is too long", event)
            self._nodes += 1 + len(text) // _SIGNS
            self._sizes[node] = self._nodes - before
        self._refuse(self._nodes > _NODES, "holds too much, its aliases written out", event)
        self._depth -= 1
        return node

    @staticmethod
    def _refuse(wrong: bool, problem: str, event: yaml.Event) -> None:  # noqa: FBT001
        if wrong:
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)  # type: ignore[arg-type]

    @override
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(problem="a key is not text", problem_mark=key.start_mark)
            if key.value in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"key {key.value!r} is given twice", problem_mark=key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """Quotes exactly the words that `_Loader` would not read as text."""

    yaml_implicit_resolvers: dict[str, list[Any]] = {}  # noqa: RUF012 - PyYAML's own attribute


for _kind, (_pattern, _first) in _PLAIN.items():
    for _side in (_Loader, _Dumper):
        _side.add_implicit_resolver(
            f"tag:yaml.org,2002:{_kind}",
            re.compile(f"^(?:{_pattern})$"),
            ["", *_first] if _kind == "null" else list(_first),
        )


def read_mapping(path: Path) -> dict[str, Any]:
    """The mapping in the YAML file `path`; InputError, in one line, if there is none."""
    try:
        # Only plain values are built: _Loader derives from SafeLoader.
        value = yaml.load(_bytes(path), Loader=_Loader)  # noqa: S506
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except yaml.MarkedYAMLError as error:
        raise InputError(f"{path}: {_where(error)}{error.problem}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(value, dict):
        raise InputError(f"{path}: holds no mapping with keys such as workload:")
    return value


def write_mapping(value: dict[str, Any]) -> str:
    """`value` as YAML that `read_mapping` reads back."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, width=100)


def _bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        found = file.read(_BYTES + 1)
    if len(found) > _BYTES:
        raise InputError(f"{path}: is longer than {_BYTES:,} bytes")
    return found


def _where(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    return f"line {mark.line + 1}: " if mark else ""
