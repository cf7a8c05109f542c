"""A run folder as one page to explore, and its front as a table."""

from __future__ import annotations

from pathlib import Path

from trp_search.report import contents, page, rows
from trp_search.report.frame import frame, points
from trp_search.store import RunFolder, write_whole

__all__ = ["points", "write"]


def write(run: RunFolder, *, running: bool = False) -> Path:
    """Writes front.csv and report.html from what the run folder holds now; returns the page's path.

    The page is one file that opens offline; while a search is `running` it renews itself.
    Raises InputError for a folder that cannot be read.
    """
    read = contents.read(run)
    write_whole(run.front, frame(rows.build(read).front, read.latencies).to_csv(index=False))
    write_whole(run.report, page.render(read, running=running))
    return run.report
