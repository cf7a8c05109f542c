"""Draws a run folder as one HTML page, and its front as a table."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from trp_search.progress import doing
from trp_search.report import contents, rows
from trp_search.store import RunFolder, write_whole

__all__ = ["settle", "write"]


def write(run: RunFolder, *, running: bool = False) -> Path:
    """Writes front.csv and report.html from the run folder; returns the page's path.

    The page is one file that opens offline; while a search is `running` it reloads itself.
    Raises InputError for a folder that cannot be read.
    """
    # Most of a second of pandas and plotly, which most commands do without.
    from trp_search.report import page  # noqa: PLC0415
    from trp_search.report.frame import frame  # noqa: PLC0415

    with doing("writing the report"):
        read = contents.read(run)
        table = frame(rows.build(read).front, read.latencies, read.metric)
        write_whole(run.front, table.to_csv(index=False))
        write_whole(run.report, page.render(read, running=running))
    return run.report


def settle(run: RunFolder) -> None:
    """Redraws the page of a search that has ended, if there is one, as no longer running.

    A page that cannot be drawn, as on a full disk, is removed.
    """
    for _ in range(2 if run.report.exists() else 0):
        try:
            write(run)
        except Exception:  # noqa: BLE001  whatever ended the search is told, not this
            with suppress(OSError):
                run.report.unlink()  # which makes room for another
        else:
            return
