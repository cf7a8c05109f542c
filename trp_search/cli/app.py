"""The commands and their options."""

from __future__ import annotations

from typing import Annotated

import typer

from trp_search.cli import bundles, check, choosing, confirming, cutting, looking, searching, timing
from trp_search.cli.console import line

app = typer.Typer(
    name="trp-search",
    help="Search low-rank versions of a network; export the most accurate at your speedup.",
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> bool:  # noqa: FBT001  typer calls it so
    if wanted:
        from importlib.metadata import version

        line(version("trp_search"))
        raise typer.Exit
    return wanted


@app.callback()
def options(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[
        bool,
        typer.Option(
            "--debug", help="Show the traceback of an unexpected error or of your own code."
        ),
    ] = False,
) -> None:
    """Search low-rank versions of a network; export the most accurate at your speedup."""
    del version, debug


for command in (
    check.check,
    searching.search,
    searching.resume,
    looking.status,
    looking.report,
    looking.published,
    confirming.confirm,
    timing.latency,
    choosing.select,
    cutting.cut,
    cutting.compress,
    bundles.export,
    bundles.evaluate,
    timing.compare,
    bundles.refit,
):
    app.command()(command)
