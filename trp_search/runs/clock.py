"""Times points of a run on a target, each in turn with the baseline."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from trp_search.errors import InputError, NothingFoundError
from trp_search.progress import tracked
from trp_search.records import BASELINE, Latency, Point, Target, made
from trp_search.runs import networks
from trp_search.runs.beside import Beside, Network
from trp_search.runtimes.machine import device_name
from trp_search.runtimes.serving import runtime
from trp_search.selection import pareto
from trp_search.space import load_space
from trp_search.store import RunFolder, append_record, exclusive
from trp_search.tasks.task import threads
from trp_search.workloads import data


def target_of(folder: RunFolder, name: str, given: dict[str, Any]) -> Target:
    """The target of this name: as timed before, as in the run's space, or as `given`.

    Fields that nothing says are those of the data and of `Target`.

    Args:
        folder: the run; its images give the size.
        name: what to call the target.
        given: fields of a `Target`.

    Raises:
        InputError: an invalid value, or one that differs from the target of this name.
    """
    timed = folder.read_latencies().get(name)
    shape = data.describe(folder.trial(BASELINE).read_spec().workload.data)
    default: dict[str, Any] = {"name": name, "height": shape.height, "width": shape.width}
    asked = next((one for one in load_space(folder.search).timed_on if one.name == name), None)
    known = bool(timed or asked)
    if timed:
        default = dataclasses.asdict(next(iter(timed.values())).target)
    elif asked:
        default |= asked.model_dump(exclude={"seconds"})
    target = made(Target, f"target {name!r}", **(default | given))
    other = [f"{key} {value}" for key, value in default.items() if value != getattr(target, key)]
    if known and other:
        raise InputError(
            f"target {name!r}: stands for {', '.join(other)} in this run; give another name"
        )
    return target


def worth_it(folder: RunFolder, target: Target) -> list[Point]:
    """The points to time: the front of each scheme and of the baseline's cuts, fastest last.

    Multiply-adds do not tell which scheme is fast on a target, nor whether int8 is. Points whose
    weights were not kept, those in int8 for another runtime and cuts in which every layer stayed
    dense are left out.

    Raises:
        NothingFoundError: the run has no such point.
    """
    space = load_space(folder.search)
    groups: dict[tuple[bool, str | None, bool], list[Point]] = {}
    for point in folder.read_all_points():
        cut = point.role == "control" and (point.int8 or any(x.scheme for x in point.layers))
        asked = cut or (point.searched and space.admits(point))
        if asked and _runs_on(point, target) and folder.weights(point).exists():
            kind = point.searched, point.scheme, point.int8 is not None
            groups.setdefault(kind, []).append(point)
    found = [p for group in groups.values() for p in pareto.front(group, space.objective_list)]
    if not found:
        raise NothingFoundError(f"{folder.path}: has no point with stored weights")
    return sorted(found, key=lambda point: point.speedup)


def _runs_on(point: Point, target: Target) -> bool:
    asked = target.runtime, target.device
    return point.int8 is None or (point.int8.runtime, "cpu") == asked


def untimed(folder: RunFolder, target: Target) -> list[Point]:
    """Those of `worth_it` that were not timed on the target yet; raises as it does."""
    known = folder.read_latencies().get(target.name, {})
    return [point for point in worth_it(folder, target) if point.id not in known]


def measure(
    folder: RunFolder, target: Target, points: Sequence[Point], *, seconds: float
) -> Iterator[Latency]:
    """Times each point for about `seconds`, adds it to the run and yields it.

    Raises:
        InputError: another command is at work in the folder, the runtime or the device is not
            there, the target was timed on another machine, or a network's weights are gone.
    """
    serving = runtime(target.runtime)
    serving.check(target.device)
    busy = "another command is at work in this folder; time its points when it has ended"
    with exclusive(folder.lock, wait_seconds=0.0, holder=busy), threads(target.threads):
        machine = machine_of(folder, target)
        channels = data.describe(folder.trial(BASELINE).read_spec().workload.data).channels

        def made(point: Point) -> Network:
            return lambda: networks.network_of(folder, point)

        beside = Beside(made(folder.point(BASELINE)), target, channels=channels)
        for point in tracked(points, "timing", total=len(points), unit="networks"):
            timing, batch_norm = beside.time(made(point), seconds=seconds)
            latency = Latency(
                point=point.id,
                target=target,
                batch_norm=batch_norm,
                machine=machine,
                versions=serving.versions(),
                **dataclasses.asdict(timing),
            )
            append_record(folder.latencies, latency)
            yield latency


def machine_of(folder: RunFolder, target: Target) -> str:
    """This machine's name; raises InputError where the target stands for another one."""
    here = device_name(target.device)
    known = folder.read_latencies().get(target.name, {})
    other = next((found.machine for found in known.values() if found.machine != here), None)
    if other is not None:
        raise InputError(
            f"target {target.name!r}: was timed on {other}, this is {here}; give another name"
        )
    return here
