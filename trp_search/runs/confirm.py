"""Repeats the front's trainings with other seeds, to show how much of a point was luck."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterator

from trp_search.errors import InputError, NothingFoundError
from trp_search.records import EpochReport, Point, Repeat, TrialResult, TrialSpec, to_json
from trp_search.runs import setup, trial
from trp_search.selection import pareto
from trp_search.space import load_space
from trp_search.store import RunFolder, append_record

_EVERYTHING = 2**31 - 1


def plan(folder: RunFolder, *, seeds: int) -> list[tuple[TrialSpec, list[Point]]]:
    """The remaining trainings: specifications, each with the front's points that it repeats.

    The first seed of every trial comes first, so that an interrupted confirmation is useful
    already. The baseline is not trained again: trials that start from it start from the run's own.

    Raises:
        InputError: fewer than one seed, or no run.
        NothingFoundError: the run has no front.
    """
    if seeds < 1:
        raise InputError(f"seeds: {seeds} is below 1")
    space = load_space(folder.search)
    behind: dict[str, list[Point]] = defaultdict(list)
    for point in pareto.search_front(folder.read_points(), space):
        # Of one network's ranks alone: a repeat has others, and scores them in float32.
        if not (point.winner or (point.by_ranks and point.int8)):
            behind[point.trial].append(point)
    if not behind:
        raise NothingFoundError(f"{folder.path}: has no front to confirm")
    repeats = folder.read_repeats()
    done = {(name, repeat.trial) for name, found in repeats.items() for repeat in found}
    specs = [
        (_repeat(folder.trial(name).read_spec(), points, number), points)
        for number in range(1, seeds + 1)
        for name, points in behind.items()
    ]
    return [
        (spec, points)
        for spec, points in specs
        if any((p.id, spec.name) not in done for p in points if not _refused(folder, spec, p))
    ]


def confirm(
    folder: RunFolder, spec: TrialSpec, points: list[Point]
) -> Iterator[EpochReport | TrialResult]:
    """Trains one of the plan's repeats and adds its scores to the run.

    Its weights are removed afterwards. A killed one continues from its last checkpoint.
    """
    place = folder.trial(spec.name)
    known = place.read_result()
    have = {_part(point) for point in known.points} if known and known.ended_well else set()
    if known and any(_part(p) not in have and not _refused(folder, spec, p) for p in points):
        place.result.unlink()  # it failed, or the front has other cuts by now
    for item in trial.run(spec, folder):
        if isinstance(item, TrialResult):
            found = {_part(point): point for point in item.points}
            told = {
                name
                for name, repeats in folder.read_repeats().items()
                if any(repeat.trial == spec.name for repeat in repeats)
            }
            for point in points:
                if _part(point) in found and point.id not in told:
                    append_record(folder.repeats, _measured(point, found[_part(point)]))
            for weights in {*place.path.glob("*.safetensors"), *place.path.glob("point-*")}:
                weights.unlink()
        yield item


def _part(point: Point) -> tuple[str | None, bool, bool]:
    """What of its training a point is: the cut, whether before the fine-tuning, whether in int8."""
    cut = None if point.cut is None else to_json(point.cut)
    return cut, point.untuned, point.int8 is not None


def _refused(folder: RunFolder, spec: TrialSpec, point: Point) -> bool:
    """Whether the repeat's cut was refused, or has the ranks of another of its cuts."""
    result = folder.trial(spec.name).read_result()
    return bool(result and point.cut and point.cut.name in result.refused)


def _repeat(spec: TrialSpec, points: list[Point], number: int) -> TrialSpec:
    """The trial with another seed and the front's cuts alone, scored on every image."""
    own = spec.cuts[0]
    cuts = [point.cut for point in points if point.cut is not None and point.cut != own]
    return setup.alone(
        dataclasses.replace(
            spec,
            kind="confirm",
            name=f"confirm-{spec.name}-{number}",
            seed=(spec.seed + 1_000_003 * number) % 2**31,
            screening=tuple(cuts),
            screening_images=_EVERYTHING,
            rungs=(),
        )
    )


def _measured(point: Point, found: Point) -> Repeat:
    return Repeat(
        point=point.id,
        trial=found.trial,
        score=found.score,
        speedup=found.speedup,
    )
