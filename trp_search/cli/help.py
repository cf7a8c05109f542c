"""Help in groups: options and commands under a heading each, as plain text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from typer.core import TyperCommand, TyperGroup
from typing_extensions import override

if TYPE_CHECKING:
    from typer._click import Context, HelpFormatter

SEARCHED = "What is searched"
KEPT = "How much is kept (give one)"
CUT = "How it is cut"
LIMIT = "The budget (give one)"
TIMED = "Where it is timed"
READ = "What is read"
WRITTEN = "What is written"
RUNS = "How it runs"
OTHER = "Options"

_FEW = 6  # options that need no groups
_NAMES = 28  # what is longer stands on a line of its own
Rows = Sequence[tuple[str, str]]


class GroupedCommand(TyperCommand):
    """A command whose help has its options by their panel, the others last, if there are many."""

    @override
    def format_options(self, ctx: Context, formatter: HelpFormatter) -> None:
        rows = [(p, row) for p in self.get_params(ctx) if (row := p.get_help_record(ctx))]
        options = [(p, row) for p, row in rows if p.param_type_name == "option"]
        groups = {"Arguments": [row for p, row in rows if p.param_type_name == "argument"]}
        others: list[tuple[str, str]] = []
        for parameter, row in options:
            panel = getattr(parameter, "rich_help_panel", None) if len(options) > _FEW else None
            (others if panel is None else groups.setdefault(panel, [])).append(row)
        _write({**groups, OTHER: others}, formatter)


class GroupedCommands(TyperGroup):
    """Commands whose list is by their panel."""

    @override
    def format_commands(self, ctx: Context, formatter: HelpFormatter) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        for name in self.list_commands(ctx):
            command = self.get_command(ctx, name)
            assert command is not None
            panel = getattr(command, "rich_help_panel", None) or "Commands"
            groups.setdefault(panel, []).append((name, command.get_short_help_str(limit=66)))
        _write(groups, formatter)


def _write(groups: Mapping[str, Rows], formatter: HelpFormatter) -> None:
    """Every group that has rows, under its heading, in columns that are the same for all."""
    names = [name for rows in groups.values() for name, _ in rows]
    width = max((len(name) for name in names if len(name) <= _NAMES), default=0)
    for title, rows in groups.items():
        if rows:
            with formatter.section(title):
                formatter.write_dl([(f"{name:<{width}}", text) for name, text in rows])
