"""Which changes Hypothesis draws for a sample: most of them of single values."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from tests.fuzz.changes import FORMS, Change
from tests.fuzz.nasty import KEYS, NUMBERS, STATEMENTS, TEXTS, TRIALS, VALUES, VALUES_YAML, WORDS

_OFTEN = ("points.jsonl", "search.yaml", "spec.json", "test.jsonl", "latency.jsonl", "study.db")
_SELDOM = ("report.html", "card.md", "front.csv", "point-1", "point-plain", "point-0-")
# What a command may write, and what a killed one may leave.
_MADE = ["report.html", "front.csv", "importance.json", ".lock", ".test.lock", ".a.tmp", ".ray"]
_MADE += ["trials", "trials/2", "trials/0/checkpoint.safetensors", "trials/0/tuning.safetensors"]
_MADE += ["trials/0/.b.tmp", "trials/0/point-0-0.7-aware.safetensors", "models", "extra"]


def files_of(sample: Path) -> list[str]:
    """The files that a command may read, below the sample's folder; those of most values often."""
    paths = [path for path in sorted(sample.rglob("*")) if path.is_file()]
    often = [path for path in paths if path.name in _OFTEN]
    read = [path for path in paths if not path.name.startswith(_SELDOM)]
    return [str(path.relative_to(sample)) for path in [*read, *often, *often]]


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
        return Change(file=file, how="sql", value=draw(st.sampled_from(STATEMENTS)))
    if kind == "bytes" or suffix not in FORMS:
        return draw(_byte_change(file))
    value = FORMS[suffix][0]((sample / file).read_bytes())
    return draw(_value_change(file, value))


@st.composite
def _value_change(draw: st.DrawFn, file: str, value: Any) -> Change:
    how = draw(
        st.sampled_from(
            ["set"] * 6
            + ["everywhere"] * 2
            + ["drop", "rename", "add", "repeat"]
            + ["scale", "swap"] * 2
        )
    )
    at = draw(_way(value))
    pool = draw(_pool(_found(value, at), file))
    if how == "swap":  # another value of the same file, sound where it came from
        other = _found(value, draw(_way(value)))
        return Change(file=file, how="set", at=at, value=other)
    if how == "rename":
        return Change(file=file, how=how, at=at, value=draw(st.sampled_from(KEYS)))
    if how == "add":
        key = draw(st.sampled_from(KEYS))
        return Change(file=file, how=how, at=(*at[:-1], key), value=draw(st.sampled_from(pool)))
    if how == "scale":
        return Change(
            file=file, how=how, at=at, value=draw(st.sampled_from([-1, 0, 2, 0.5, 1000, 10**9]))
        )
    return Change(
        file=file,
        how=how,
        at=at,
        value=draw(st.sampled_from(pool)) if how in ("set", "everywhere") else None,
    )


def _found(value: Any, way: Sequence[Any]) -> Any:
    for key in way:
        value = value[key]
    return value


def _pool(given: Any, file: str) -> st.SearchStrategy[Sequence[object]]:
    """What to put in the place of a value: mostly of its own kind, which checks let pass."""
    pools: list[Sequence[object]] = [VALUES_YAML if file.endswith(".yaml") else VALUES]
    if isinstance(given, str):
        pools += [WORDS] * 2
    elif isinstance(given, int | float) and not isinstance(given, bool):
        pools += [NUMBERS] * 2
    return st.sampled_from(pools)


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
        "insert": TEXTS,
        "replace": TEXTS,
        "flip": [1, 32, 128, 255],
        "fill": [0, 255, 127],
        "truncate": [None],
    }
    return Change(file=file, how=how, at=at, value=draw(st.sampled_from(values[how])))


@st.composite
def _file_change(draw: st.DrawFn, files: Sequence[str]) -> Change:
    folders = sorted({str(Path(file).parent) for file in files} - {"."})
    # Only whoever names a file, as a space, can mean a pipe.
    pipe = [] if all(file.endswith(".yaml") for file in files) else ["pipe"]
    kinds = ["delete", "directory", "link", "link", "copy", "trial", *pipe]
    how = draw(st.sampled_from(kinds))
    if how == "trial" and folders:
        folder, name = draw(st.sampled_from(folders)), draw(st.sampled_from(TRIALS))
        return Change(file=folder, how=how, value=name)
    if how in ("delete", "link") and folders and draw(st.sampled_from([False, False, True])):
        file = draw(st.sampled_from(folders))
    else:
        made = _MADE if any(file.startswith("trials/") for file in files) else []
        file = draw(st.sampled_from([*files, *made]))
    if how == "link":
        target = draw(st.sampled_from(["file", "folder", "missing", "itself", "device"]))
        return Change(file=file, how=how, value=target)
    if how in ("copy", "trial"):
        return Change(file=file, how="copy", value=draw(st.sampled_from(files)))
    return Change(file=file, how=how)
