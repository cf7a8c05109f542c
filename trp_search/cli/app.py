"""The commands and their options."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from trp_search.cli import (
    bundles,
    check,
    choosing,
    compressing,
    confirming,
    cutting,
    looking,
    quantizing,
    searching,
    timing,
)
from trp_search.cli.console import line
from trp_search.cli.help import GroupedCommand, GroupedCommands

app = typer.Typer(
    name="trp-search",
    help="Search low-rank versions of a network; export the most accurate at your speedup.",
    add_completion=False,
    rich_markup_mode=None,
    cls=GroupedCommands,
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


_COMMANDS: dict[str, tuple[Callable[..., None], ...]] = {
    "Search": (check.check, searching.search, searching.resume),
    "Look at a run": (looking.status, looking.report, looking.published),
    "Measure a run again": (confirming.confirm, timing.latency),
    "Choose and export": (choosing.select, bundles.export, bundles.refit),
    "Compress without training": (compressing.compress, cutting.cut, quantizing.quantize),
    "Use a bundle": (bundles.evaluate, timing.compare),
}
for title, commands in _COMMANDS.items():
    for command in commands:
        app.command(cls=GroupedCommand, rich_help_panel=title)(command)
