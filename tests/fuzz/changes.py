"""What may be wrong with a file: changes of its values, its text, its bytes and its kind."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import struct
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st

MARKER = "canary-7f3a"
RECORDS = (".json", ".jsonl", ".yaml", ".safetensors")

# Text put in place of a quoted @name@, for what no writer of JSON or YAML writes.
_BOMB = "{{a: &a [x, x, x, x, x, x, x, x, x, x], {}}}".format(
    ", ".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]" for a, b in zip("abcdefgh", "bcdefghi"))
)
_RAW = {
    "digits": "9" * 5000,
    "beyond": "1e999",
    "deep": "[" * 3000 + "]" * 3000,
    "twice": '{"name": 1, "name": 2}',
    "nothing": "",
    "open": '"[{',
}
_RAW_YAML = {
    "bomb": _BOMB,
    "itself": "&loop [*loop]",
    "call": '!!python/object/apply:os.system ["touch called"]',
    "merge": "{<<: {a: 1}, <<: [{b: 1}]}",
    "binary": "!!binary xx",
    "date": "2026-01-01",
    "key": "{[a, b]: 1}",
    "tag": "!unknown 1",
    "sexagesimal": "1:30",
    "set": "!!set {a, b}",
    "letters": '"\\uD800\\x00"',
}
_VALUES: list[object] = [
    *(None, True, False, 0, 1, 2, -1, 3, 10**4, 10**9, 2**31, 2**63, 10**30, -(10**20)),
    *(0.0, -0.0, 0.5, 1.0, 1e-320, 1e308, -1e308, 2.5),
    *(float("nan"), float("inf"), float("-inf")),
    *("", " ", ".", "..", "a/b", "/", "~", "$HOME", "-", "--help", "9", "1r1", "²", "x" * 20_000),
    *("../canary", "../../canary", "../../../canary", "@CANARY@", "@CANARY@/points"),
    *("canary_module:boom", "canary_module:", ":", "os:system", "a b:c d", "..:..", "@GIVEN@"),
    *("\x00", "a\x00b", "a\nb", "\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "\u202eabc", "\x9b1m"),
    *("\ud800", "[red]x[/red]", "[/]", "[link=x]", "<script>alert(1)</script>", "%s{0}%(a)d"),
    *("baseline", "0", "0-2x", "plain-2x", "cuda", "float64", "channel", "per-layer", "sparse"),
    *("digits", "images", "resnet20", "resnet18", "small_resnet", "torchvision", "never"),
    *([], {}, [[]], [1], ["a"], [0, 0], [-1, 5], [1e308], {"a": {"b": [1]}}, {"": None}),
    {"name": "canary_module:boom", "options": {"a": 1}},
    {"name": "images", "root": "@CANARY@", "classes": 2},
    {"weights": "DEFAULT"},
    *(f"@{name}@" for name in _RAW),
]
_VALUES_YAML: list[object] = [*_VALUES, *(f"@{name}@" for name in _RAW_YAML)]
_KEYS = ["", "extra", "name", "__class__", "\x1b[31m", "[red]", "a/b", "x" * 5000, "\ud800", "@deep@"]
_TEXTS = [b"", b"\n", b"\x00" * 64, b"null", b"[]", b"{}", b"0", b'"x"', b"\xff\xfe\x00", b"\xef\xbb\xbf"]
_TEXTS += [b"{" * 5000, b"[" * 100_000, b"NaN", b"SQLite format 3\x00", b"\x1b[31m", b"\r\n\r\n", b"--- a"]
_TEXTS += [b"\xff" * 8 + b"{}", b"\x02" + b"\x00" * 7 + b"{}", b"a: 1\n---\nb: 2\n", b"\t- a", b"%YAML 9.9"]
_TRIALS = ["²", "a\nb", "\x1b[31m", "-1", "1r", "01", "r", "0r1", "9" * 100, "\udce9", "baseline ", "..."]
_STATEMENTS = [
    "UPDATE trials SET state = 'RUNNING'",
    "UPDATE trials SET state = 'WAITING'",
    "UPDATE trials SET state = 'FAIL'",
    "UPDATE trials SET state = 'PRUNED'",
    "UPDATE trials SET state = 'nothing'",
    "UPDATE trials SET number = -1",
    "UPDATE trials SET number = 7",
    "UPDATE trials SET datetime_complete = NULL",
    "UPDATE trials SET datetime_start = 'x'",
    "DELETE FROM trials",
    "DELETE FROM studies",
    "DELETE FROM study_directions",
    "DELETE FROM trial_params",
    "DELETE FROM trial_values",
    "DELETE FROM version_info",
    "DELETE FROM alembic_version",
    "DROP TABLE trials",
    "DROP TABLE trial_user_attributes",
    "UPDATE studies SET study_name = 'other'",
    "UPDATE study_directions SET direction = 'NOT_SET'",
    "UPDATE study_directions SET direction = 'sideways'",
    "UPDATE study_user_attributes SET value_json = '[1, null]'",
    "UPDATE study_user_attributes SET value_json = 'x'",
    "UPDATE trial_user_attributes SET value_json = 'NaN'",
    "UPDATE trial_user_attributes SET value_json = '{}'",
    "UPDATE trial_system_attributes SET value_json = '3'",
    "UPDATE trial_system_attributes SET value_json = 'x'",
    "UPDATE trial_params SET distribution_json = '{}'",
    "UPDATE trial_params SET distribution_json = 'x'",
    "UPDATE trial_params SET param_value = 1e308",
    "UPDATE trial_params SET param_value = 'x'",
    "UPDATE trial_params SET param_name = 'canary_module:boom'",
    "UPDATE trial_values SET value = NULL",
    "UPDATE trial_values SET value_type = 'INF_POS'",
    "UPDATE trial_values SET value_type = 'x'",
    "UPDATE version_info SET schema_version = 99",
    "UPDATE alembic_version SET version_num = 'x'",
]


@dataclass(frozen=True, kw_only=True)
class Change:
    """One thing done to one file; `at` is the place in it and `value` what is put there."""

    file: str
    how: str
    at: Any = None
    value: Any = None

    def __str__(self) -> str:
        parts = [self.file, self.how]
        parts += [str(self.at)] if self.at is not None else []
        return " ".join([*parts, "to", ascii(self.value)[:120]])

    def make(self, folder: Path, canary: Path) -> None:
        """Does it to the file in `folder`; nothing where an earlier change took the place away."""
        path = folder / self.file
        if not path.parent.is_dir():
            return
        if self.how in _OF_FILES:
            _OF_FILES[self.how](path, canary, self)
        elif path.is_file() and not path.is_symlink():
            self._rewrite(path, canary)

    def _rewrite(self, path: Path, canary: Path) -> None:
        given = path.read_bytes()
        path.unlink()  # it may be a link to the sample's own
        if self.how == "sql":
            path.write_bytes(given)
            _altered(path, self.value)
            return
        if self.how in _OF_BYTES:
            path.write_bytes(_OF_BYTES[self.how](given, self))
            return
        read, write = _FORMS[path.suffix]
        try:
            value = read(given)
        except (ValueError, struct.error, yaml.YAMLError, RecursionError):
            path.write_bytes(given)
            return
        changed = write(_altered_value(value, self), given)
        for name, place in (("@CANARY@", canary), ("@GIVEN@", path.parent)):
            changed = changed.replace(name.encode(), str(place).encode())
        path.write_bytes(changed)


# Values


def _altered_value(value: Any, change: Change) -> Any:
    *way, last = change.at or ["value"]
    root = {"value": value}
    container: Any = root
    for key in ["value", *way] if change.at else []:
        try:
            container = container[key]
        except (KeyError, IndexError, TypeError):
            return value
    fits = isinstance(container, dict) and (last in container or change.how == "add")
    if not fits and not (isinstance(container, list) and isinstance(last, int) and last < len(container)):
        return value
    _PLACES[change.how](container, last, change.value)
    return root["value"]


def _set(container: Any, key: Any, value: Any) -> None:
    container[key] = value


def _drop(container: Any, key: Any, value: Any) -> None:
    del container[key]


def _rename(container: Any, key: Any, value: Any) -> None:
    if isinstance(container, dict):
        container[value] = container.pop(key)


def _repeat(container: Any, key: Any, value: Any) -> None:
    if isinstance(container, list):
        container.insert(key, container[key])


def _scale(container: Any, key: Any, value: Any) -> None:
    if isinstance(container[key], int | float) and not isinstance(container[key], bool):
        container[key] = type(container[key])(container[key] * value)


_PLACES: dict[str, Callable[[Any, Any, Any], None]] = {
    "set": _set,
    "drop": _drop,
    "rename": _rename,
    "add": _set,
    "repeat": _repeat,
    "scale": _scale,
}


def _raw(text: str, table: dict[str, str]) -> bytes:
    for name, raw in table.items():
        for quoted in (f'"@{name}@"', f"'@{name}@'"):
            text = text.replace(quoted, raw)
    return text.encode("utf-8", "surrogatepass")


def _json(value: Any, given: bytes) -> bytes:
    return _raw(json.dumps(value), _RAW)


def _lines(value: Any, given: bytes) -> bytes:
    return b"".join(_json(line, given) + b"\n" for line in value)


def _yaml(value: Any, given: bytes) -> bytes:
    text = yaml.dump(value, sort_keys=False, allow_unicode=False, Dumper=_Plain)
    return _raw(text, _RAW | _RAW_YAML)


class _Plain(yaml.SafeDumper):
    """Writes no anchors of its own."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _tensors(value: Any, given: bytes) -> bytes:
    (size,) = struct.unpack("<Q", given[:8])
    header = _json(value, given)
    return struct.pack("<Q", len(header)) + header + given[8 + size :]


def _header(given: bytes) -> Any:
    (size,) = struct.unpack("<Q", given[:8])
    return json.loads(given[8 : 8 + size])


_FORMS: dict[str, tuple[Callable[[bytes], Any], Callable[[Any, bytes], bytes]]] = {
    ".json": (json.loads, _json),
    ".jsonl": (lambda given: [json.loads(line) for line in given.splitlines()], _lines),
    ".yaml": (yaml.safe_load, _yaml),
    ".safetensors": (_header, _tensors),
}

# Bytes


def _place(given: bytes, change: Change) -> int:
    return int(change.at * len(given))


_OF_BYTES: dict[str, Callable[[bytes, Change], bytes]] = {
    "truncate": lambda given, change: given[: _place(given, change)],
    "insert": lambda given, change: (
        given[: _place(given, change)] + change.value + given[_place(given, change) :]
    ),
    "flip": lambda given, change: (
        given[: _place(given, change)]
        + bytes(byte ^ change.value for byte in given[_place(given, change) :][:1])
        + given[_place(given, change) + 1 :]
    ),
    "fill": lambda given, change: (
        given[: _place(given, change)] + bytes([change.value]) * (len(given) - _place(given, change))
    ),
    "replace": lambda given, change: change.value,
}


def _altered(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as study:
        try:
            study.execute(statement)
            study.commit()
        except sqlite3.Error:
            study.rollback()


# Files


def _removed(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _delete(path: Path, canary: Path, change: Change) -> None:
    _removed(path)


def _directory(path: Path, canary: Path, change: Change) -> None:
    _removed(path)
    path.mkdir()


def _link(path: Path, canary: Path, change: Change) -> None:
    """To a file of the canary's, its folder, nothing, itself, or a device that never ends."""
    targets = {"file": canary / f"file{path.suffix}", "folder": canary, "missing": canary / "new"}
    targets |= {"itself": path, "device": Path("/dev/zero")}
    _removed(path)
    path.symlink_to(targets[change.value])


def _pipe(path: Path, canary: Path, change: Change) -> None:
    _removed(path)
    os.mkfifo(path)


def _copied(path: Path, canary: Path, change: Change) -> None:
    source = path.parents[change.file.count("/")] / change.value
    if source.is_file() and source != path:
        _removed(path)
        shutil.copyfile(source, path)


def _trial(path: Path, canary: Path, change: Change) -> None:
    target = path.parent / change.value
    if path.is_dir() and not target.exists():
        shutil.copytree(path, target)


_OF_FILES: dict[str, Callable[[Path, Path, Change], None]] = {
    "delete": _delete,
    "directory": _directory,
    "link": _link,
    "pipe": _pipe,
    "copy": _copied,
    "trial": _trial,
}


# Strategies


def files_of(sample: Path) -> list[str]:
    """The files that a command may read, below the sample's folder."""
    unread = ("report.html", "card.md", ".lock")
    paths = sorted(path for path in sample.rglob("*") if path.is_file())
    return [str(path.relative_to(sample)) for path in paths if path.name not in unread]


@st.composite
def changes(draw: st.DrawFn, sample: Path, files: Sequence[str]) -> list[Change]:
    """One to three changes of a sample's files, most of them of values."""
    count = draw(st.sampled_from([1, 1, 1, 2, 3]))
    return [draw(_change(sample, files)) for _ in range(count)]


@st.composite
def _change(draw: st.DrawFn, sample: Path, files: Sequence[str]) -> Change:
    kind = draw(st.sampled_from(["value"] * 7 + ["bytes"] * 2 + ["file"]))
    if kind == "file":
        return draw(_file_change(files))
    file = draw(st.sampled_from(files))
    suffix = Path(file).suffix
    if suffix == ".db" and draw(st.booleans()):
        return Change(file=file, how="sql", value=draw(st.sampled_from(_STATEMENTS)))
    if kind == "bytes" or suffix not in _FORMS:
        return draw(_byte_change(file))
    value = _FORMS[suffix][0]((sample / file).read_bytes())
    return draw(_value_change(file, value))


@st.composite
def _value_change(draw: st.DrawFn, file: str, value: Any) -> Change:
    how = draw(st.sampled_from(["set"] * 8 + ["drop", "rename", "add", "repeat", "scale"] + ["swap"] * 2))
    at = draw(_way(value))
    pool = _VALUES_YAML if file.endswith(".yaml") else _VALUES
    if how == "swap":  # another value of the same file, sound where it came from
        other: Any = value
        for key in draw(_way(value)):
            other = other[key]
        return Change(file=file, how="set", at=at, value=other)
    if how == "rename":
        return Change(file=file, how=how, at=at, value=draw(st.sampled_from(_KEYS)))
    if how == "add":
        key = draw(st.sampled_from(_KEYS))
        return Change(file=file, how=how, at=(*at[:-1], key), value=draw(st.sampled_from(pool)))
    if how == "scale":
        return Change(file=file, how=how, at=at, value=draw(st.sampled_from([-1, 2, 0.5, 1000, 10**9])))
    return Change(file=file, how=how, at=at, value=draw(st.sampled_from(pool)) if how == "set" else None)


@st.composite
def _way(draw: st.DrawFn, value: Any) -> tuple[Any, ...]:
    """Keys from the outermost value to one within it."""
    way: list[Any] = []
    while isinstance(value, dict | list) and value:
        key = draw(st.sampled_from(list(value) if isinstance(value, dict) else range(len(value))))
        way.append(key)
        value = value[key]
        if draw(st.sampled_from([False, False, True])):
            break
    return tuple(way)


@st.composite
def _byte_change(draw: st.DrawFn, file: str) -> Change:
    how = draw(st.sampled_from(["truncate", "insert", "flip", "fill", "replace"]))
    at = draw(st.sampled_from([0.0, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0]))
    values: dict[str, Sequence[object]] = {
        "insert": _TEXTS,
        "replace": _TEXTS,
        "flip": [1, 32, 128, 255],
        "fill": [0, 255, 127],
        "truncate": [None],
    }
    return Change(file=file, how=how, at=at, value=draw(st.sampled_from(values[how])))


@st.composite
def _file_change(draw: st.DrawFn, files: Sequence[str]) -> Change:
    how = draw(st.sampled_from(["delete", "directory", "link", "link", "pipe", "copy", "trial"]))
    folders = sorted({str(Path(file).parent) for file in files} - {"."})
    if how == "trial" and folders:
        folder, name = draw(st.sampled_from(folders)), draw(st.sampled_from(_TRIALS))
        return Change(file=folder, how=how, value=name)
    if how in ("delete", "link") and folders and draw(st.sampled_from([False, False, True])):
        file = draw(st.sampled_from(folders))
    else:
        file = draw(st.sampled_from(files))
    if how == "link":
        target = draw(st.sampled_from(["file", "folder", "missing", "itself", "device"]))
        return Change(file=file, how=how, value=target)
    if how in ("copy", "trial"):
        return Change(file=file, how="copy", value=draw(st.sampled_from(files)))
    return Change(file=file, how=how)
