"""What a network could reach on a target's clock, as `check` shows it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table
from torch import nn

from trp_search.cli.console import OUT, line, warn
from trp_search.cli.tables import mostly_in, table_of
from trp_search.cli.timing import Fields, described, warn_of_load
from trp_search.errors import InputError
from trp_search.records import Target, made
from trp_search.records.objectives import TIMES
from trp_search.report.times import SLOWER
from trp_search.space import SearchSpace
from trp_search.store import RunFolder
from trp_search.workloads.images import Shape

if TYPE_CHECKING:
    from trp_search.runs.reach import Reach

_SECONDS = 0.3  # of each timing, where the space does not say


def target_of(space: SearchSpace, shape: Shape, name: str | None, given: Fields) -> Target | None:
    """The target to check: of this name in the space or as `given`; by default the space's own.

    Raises:
        InputError: an invalid value, fields without a name, or of a target that the space has.
    """
    from trp_search.runs.reach import target_in

    known = {timed.name: timed for timed in space.timed_on}
    if name is None and given:
        raise InputError("--target: is missing; it names the target that these options describe")
    if name is None:
        name = space.target.name if space.target else None
    if name is None:
        return None
    if name in known:
        if given:
            raise InputError(
                f"--target: {name} is defined in the space; drop the other target options"
            )
        return target_in(space, known[name])
    size = {"height": shape.height, "width": shape.width}
    return made(Target, f"target {name!r}", name=name, **(size | dict(given)))


def show_reach(space: SearchSpace, network: nn.Module, shape: Shape, target: Target) -> None:
    """Times the layers of `network` on `target`, and prints what each scheme reaches there."""
    from trp_search.runs.reach import TIMINGS, Bench
    from trp_search.scoring.survey import widest_layers

    line()
    line(f"Timing layers on {described(target)} ...", style="dim")
    warn_of_load()
    own = {timed.name: timed.seconds / TIMINGS for timed in space.timed_on}
    with tempfile.TemporaryDirectory() as folder:
        place, seconds = RunFolder(path=Path(folder)), own.get(target.name, _SECONDS)
        layers = widest_layers(space)
        found = Bench(network, shape, target, place, layers=layers, seconds=seconds).reach()
    line(f"Best the whole network could do on {target.name}, measured", style="bold")
    OUT.print(_table(found))
    line(f"  the baseline takes {found.times.total:#.3g} ms", style="dim")
    slower = [scheme for scheme, one in found.best.items() if one.layers and one.timing.slower]
    if slower:
        warn(f"{SLOWER} on {target.name} even at the lowest ranks: {', '.join(slower)}")
    best = max(one.timing.high for one in found.best.values())
    wanted = space.constraints.get("latency_speedup", 1.0)
    if space.constraints.get("milliseconds"):
        wanted = max(wanted, found.times.total / space.constraints["milliseconds"])
    if wanted > best:
        warn(f"constraints: {wanted:.2f}x on {target.name} is out of reach; {best:.2f} is the most")


def _table(found: Reach) -> Table:
    table = table_of("scheme", "at best", "95 % interval")
    table.add_column("where the remaining time is")
    for scheme, one in found.best.items():
        left = sum(milliseconds for _, milliseconds in one.caps)
        times, ends = TIMES(one.timing.speedup), f"{one.timing.low:.2f} to {one.timing.high:.2f}"
        if not one.layers:
            times, ends = "none", "no layer is faster"
        table.add_row(scheme, times, ends, mostly_in(one.caps, left))
    return table
