"""What may be done to a file: to its values, its text, its bytes, and to what it is."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import struct
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.fuzz.nasty import RAW, RAW_YAML


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
        read, write = FORMS[path.suffix]
        try:
            changed = write(_altered_value(read(given), self), given)
        except (ValueError, TypeError, struct.error, yaml.YAMLError, RecursionError):
            changed = given  # an earlier change left no values to be changed
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
    if not fits and not (
        isinstance(container, list) and isinstance(last, int) and last < len(container)
    ):
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
    return _raw(json.dumps(value), RAW)


def _lines(value: Any, given: bytes) -> bytes:
    return b"".join(_json(line, given) + b"\n" for line in value)


def _yaml(value: Any, given: bytes) -> bytes:
    text = yaml.dump(value, sort_keys=False, allow_unicode=False, Dumper=_Plain)
    return _raw(text, RAW | RAW_YAML)


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


# By suffix: bytes to values, and values back to bytes; what was there before is given along.
FORMS: dict[str, tuple[Callable[[bytes], Any], Callable[[Any, bytes], bytes]]] = {
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
        given[: _place(given, change)]
        + bytes([change.value]) * (len(given) - _place(given, change))
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
