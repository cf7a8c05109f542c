"""A search space with what its network's configuration adds to it; a run whose code is called."""

from __future__ import annotations

from pathlib import Path

from trp_search.cli.console import line
from trp_search.space import SearchSpace, changed, load_space
from trp_search.store import RunFolder


def with_configured(path: Path) -> SearchSpace:
    """The space in `path`; prints what timm's configuration adds to its data."""
    from trp_search.workloads.configured import added, configured

    loaded = load_space(path)
    space = changed(loaded, workload=configured(loaded.workload))
    if told := added(loaded.workload, space.workload):
        line(told)
    return space


def trusted(run: Path, *, trust: bool) -> RunFolder:
    """The run in `run`, once the code that it names may be called."""
    folder = RunFolder.open(run)
    from trp_search.workloads.trust import check_run

    check_run(folder, load_space(folder.search).workload, trust=trust)
    return folder
