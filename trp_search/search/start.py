"""Starts or resumes a search, after checking everything that can be checked beforehand."""

from __future__ import annotations

import dataclasses
import ipaddress
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from torch import nn

from trp_search.errors import InputError
from trp_search.records import BASELINE
from trp_search.runs.remade import remade
from trp_search.search.agreement import check_there
from trp_search.search.driver import OnEvent, run_search
from trp_search.search.events import Event, Stage
from trp_search.search.readiness import check_ready
from trp_search.search.times import after_trials
from trp_search.selection import pareto
from trp_search.space import SearchSpace, changed, load_space, warm_start
from trp_search.store import RunFolder
from trp_search.training.checkpoint import save_weights
from trp_search.workloads.configured import added, configured
from trp_search.workloads.guard import SECONDS
from trp_search.workloads.live import specification
from trp_search.workloads.trust import check_run


def new_search(  # noqa: PLR0913  options of a public call, each with a default
    space: SearchSpace | Path | str,
    out: Path | str,
    *,
    network: str | Callable[..., nn.Module] | nn.Module | None = None,
    trials: int | None = None,
    concurrency: int | None = None,
    address: str | None = None,
    on_event: OnEvent | None = None,
    timeout: float = SECONDS,
) -> RunFolder:
    """Searches `space` in the new folder `out` and returns the finished run.

    Args:
        space: the search space, or its YAML file.
        out: a folder that does not exist yet, or is empty.
        network: in place of the space's: a name; a function or class of a module that makes it (a
            `functools.partial` of one gives its options); or a live network, whose weights go
            into the run and are where trials start.
        trials: how many; the space's number by default.
        concurrency: trials at a time; by default the space's number, or what fits.
        address: a Ray cluster, `auto` or `host:port`; by default the space's, or this machine.
        on_event: receives every event that a person may want to watch.
        timeout: seconds that the user's own network and data may each take before the start.

    Raises:
        InputError: an invalid input; nothing was started.
        SearchError: the baseline or a few trials in a row failed for one reason.
    """
    space = space if isinstance(space, SearchSpace) else load_space(Path(space))
    given = space.workload
    if isinstance(network, nn.Module):
        made = remade(network, given, seconds=timeout)
        weights = str(RunFolder(path=Path(out).resolve()).given)
        given = dataclasses.replace(given, network=made, weights=weights)
    elif network is not None:
        given = dataclasses.replace(given, network=specification(network))
    space = changed(space, trials=trials, workload=configured(given))
    changed(space, concurrency=concurrency)
    hear = on_event or _ignore
    if told := added(given, space.workload):
        hear(Stage(text=told))
    with _created(Path(out)) as run:
        if isinstance(network, nn.Module):
            save_weights(run.given, network)
        hear(Stage(text=check_ready(space, seconds=timeout)))
        run_search(space, run, concurrency=concurrency, address=address, on_event=hear)
    after_trials(space, run, tell=lambda text: hear(Stage(text=text)))
    return run


def resume_search(  # noqa: PLR0913  as above
    run: RunFolder | Path | str,
    *,
    trials: int | None = None,
    concurrency: int | None = None,
    address: str | None = None,
    on_event: OnEvent | None = None,
    timeout: float = SECONDS,
    trust: bool = False,
) -> RunFolder:
    """Continues a stopped search, or adds to a finished one until it has `trials`.

    Code that the run names is called if it lies below the current folder; with `trust` all code is
    called, images are downloaded and a cluster elsewhere is joined. The rest is as in `new_search`.
    """
    folder = run if isinstance(run, RunFolder) else RunFolder.open(Path(run))
    space = load_space(folder.search)
    check_there(folder)
    check_run(folder, space.workload, trust=trust)
    if not (trust or address or _is_near(space.address)):
        raise InputError(
            f"{folder.search}: address: {space.address!r} is another machine, which would be sent "
            f"your code; --address {space.address} or --trust joins it"
        )
    trained = folder.trial(BASELINE).weights.exists()
    check_ready(space, seconds=timeout, run=folder if trained else None)
    hear = on_event or _ignore
    run_search(
        space, folder, trials=trials, concurrency=concurrency, address=address, on_event=hear
    )
    after_trials(space, folder, tell=lambda text: hear(Stage(text=text)))
    return folder


def _is_near(address: str | None) -> bool:
    """Whether a cluster is this machine's own, or the one that its environment names."""
    if address in (None, "auto"):
        return True
    host = str(address).rpartition(":")[0].strip("[]")
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def begun_with(space: SearchSpace, run: RunFolder) -> SearchSpace:
    """`space` with the settings of `run`'s front as its warm start, under this space's recipe.

    Raises:
        InputError: one of them is outside the space; the message names it.
    """
    front = pareto.search_front(run.read_points(), load_space(run.search))
    trials = dict.fromkeys(point.trial for point in front)
    if not trials:
        raise InputError(f"{run.path}: its front is empty")
    settings = []
    for name in trials:
        spec = run.trial(name).read_spec()
        setting = warm_start.setting_of(space, spec)
        for entry, sentence in warm_start.problems(space, setting):
            raise InputError(f"{run.path}: trial {name}: {entry}: {sentence}")
        for entry, sentence in warm_start.departures(space, setting, spec):
            raise InputError(f"{run.path}: trial {name}: {entry}: {sentence}")
        if setting not in settings:
            settings.append(setting)
    return changed(space, warm_start=(*space.warm_start, *settings))


@contextmanager
def _created(path: Path) -> Iterator[RunFolder]:
    """A new run at `path`; its folder is removed if the search cannot start."""
    existed = path.exists()
    run = RunFolder.create(path)
    try:
        yield run
    finally:
        if not run.search.exists():
            run.given.unlink(missing_ok=True)
            if not existed:
                with suppress(OSError):  # somebody else put something there
                    run.path.rmdir()


def _ignore(event: Event) -> None:
    """The listener of a search that nobody watches."""
    del event
