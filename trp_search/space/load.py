"""Reads and checks a search space file completely before anything starts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from trp_search.errors import InputError
from trp_search.records import Workload
from trp_search.space import problems, rules
from trp_search.space.entries import Scalar
from trp_search.space.model import SearchSpace
from trp_search.store import text


def load_space(path: Path | str) -> SearchSpace:
    """The search space in the YAML file `path`.

    Raises:
        InputError: the first problem, as `file: key.path: value is not what is allowed`.
    """
    return read_space(text.read_mapping(Path(path)), Path(path))


def read_space(raw: dict[str, Any], path: Path) -> SearchSpace:
    """As `load_space`, of the mapping read from the file `path`."""
    _expand(raw)
    try:
        # From JSON, strict tells true from 1 and 3.0 from 3, and still takes lists as tuples.
        space = SearchSpace.model_validate_json(json.dumps(raw), strict=True)
    except ValidationError as error:
        raise InputError(f"{path}: {problems.describe(error, SearchSpace)}") from None
    except (ValueError, TypeError, RecursionError) as error:  # an alias that holds itself, a date
        raise InputError(f"{path}: not a plain mapping: {error}") from None
    for where, sentence in rules.breaches(space):
        raise InputError(f"{path}: {where}: {sentence}")
    return space


def changed(
    space: SearchSpace,
    *,
    trials: int | None = None,
    concurrency: int | None = None,
    seed: int | None = None,
    workload: Workload | None = None,
    warm_start: tuple[str | dict[str, Scalar], ...] | None = None,
) -> SearchSpace:
    """`space` with the given values in place of its own; InputError if they are not allowed."""
    given = {
        "trials": trials,
        "concurrency": concurrency,
        "seed": seed,
        "workload": workload,
        "warm_start": warm_start,
    }
    changes = {name: value for name, value in given.items() if value is not None}
    own = {name: getattr(space, name) for name in SearchSpace.model_fields}
    try:
        result = SearchSpace.model_validate(own | changes, strict=True)
    except ValidationError as error:
        raise InputError(problems.describe(error, SearchSpace)) from None
    for where, sentence in rules.breaches(result):
        raise InputError(f"{where}: {sentence}")
    return result


def _expand(raw: dict[str, Any]) -> None:
    """Expands sections given by name alone."""
    workload = raw.get("workload")
    for part in ("network", "data"):
        if isinstance(workload, dict) and isinstance(workload.get(part), str):
            workload[part] = {"name": workload[part]}
    if isinstance(raw.get("sampler"), str):
        raw["sampler"] = {"name": raw["sampler"]}
