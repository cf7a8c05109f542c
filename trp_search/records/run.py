"""Records of a run beside its trials."""

from __future__ import annotations

from typing import Any

from pydantic import RootModel
from pydantic.dataclasses import dataclass as checked

from trp_search.records.kinds import STRICT, Count, Rounded


@checked(frozen=True, kw_only=True, config=STRICT)
class Importance:
    """By objective, the share of its variance that each setting explains, over `trials` trials.

    `left_out` are settings that varied, but not in every trial: they were not compared.
    """

    trials: Count
    objectives: dict[str, dict[str, Rounded]]
    left_out: tuple[str, ...] = ()


class Environment(RootModel[dict[str, Any]]):
    """The environment of a run: format, versions, devices and seeds."""

    @property
    def format(self) -> object:
        """The format of the run's files; None before formats had numbers."""
        return self.root.get("format")

    @property
    def version(self) -> str:
        """The version of this package that wrote the run."""
        versions = self.root.get("versions")
        found = versions.get("trp_search") if isinstance(versions, dict) else None
        return str(found or "0.1.0")[:20]


class Split(RootModel[dict[str, list[int] | str]]):
    """Which images are in which part, and the `digest` of what the source listed."""
