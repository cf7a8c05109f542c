"""A user's search space, with what its network's configuration adds to it."""

from __future__ import annotations

from pathlib import Path

from trp_search.cli.console import line
from trp_search.space import SearchSpace, changed, load_space


def with_configured(path: Path) -> SearchSpace:
    """The space in `path`; prints what timm's configuration adds to its data."""
    from trp_search.workloads.configured import added, configured

    loaded = load_space(path)
    space = changed(loaded, workload=configured(loaded.workload))
    if told := added(loaded.workload, space.workload):
        line(told)
    return space
