"""What a run keeps beside its trials."""

from __future__ import annotations

from typing import Any

from pydantic import RootModel
from pydantic.dataclasses import dataclass as checked

from trp_search.records.kinds import STRICT, Count, Rounded


@checked(frozen=True, kw_only=True, config=STRICT)
class Importance:
    """By objective the share of its variance that each setting explains, over so many trials."""

    trials: Count
    objectives: dict[str, dict[str, Rounded]]


class Environment(RootModel[dict[str, Any]]):
    """Versions, devices and seeds, for people."""


class Split(RootModel[dict[str, list[int]]]):
    """Which images are in which part."""
