"""Compression without a search: the baseline, trained or given, cut to a budget."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator, Iterator

import torch

from trp_search import report
from trp_search.errors import InputError
from trp_search.records import (
    TAKES,
    Cut,
    EpochReport,
    Point,
    Training,
    TrialResult,
    TrialSpec,
    to_json,
)
from trp_search.runs import reach, setup, trial
from trp_search.runs.environment import write_environment
from trp_search.runs.probe import baseline_network, probe_
from trp_search.scoring import survey
from trp_search.scoring.candidate import example
from trp_search.space import SearchSpace, load_space
from trp_search.store import RunFolder, append_record, exclusive, numbered, write_whole
from trp_search.training.checkpoint import load_tensors
from trp_search.workloads import data
from trp_search.workloads.networks import PUBLISHERS


def compress(
    space: SearchSpace,
    folder: RunFolder,
    cut: Cut,
    *,
    chosen: Callable[[Cut], Cut] | None = None,
) -> Iterator[EpochReport | TrialResult | Point]:
    """Trains the baseline unless `folder` has it, cuts it, and stores all of it as a run.

    Yields a report per epoch, the training's result and, if it succeeded, the new point, scored on
    validation.

    Args:
        space: names the network and how it is trained.
        folder: new, or of that baseline.
        cut: how to cut it.
        chosen: makes ranks of the cut once the baseline is stored, as a time budget needs.

    Raises:
        InputError: the folder has another baseline or is in use; the budget is out of reach;
            the network cannot be trained, counted, cut or stored; an image cannot be read.
    """
    spec = _baseline(space)
    untrained = not folder.trial(spec.name).weights.exists()
    if untrained:
        network, shape = baseline_network(space.workload)  # before hours of training
        probe_(space, network, shape, wanted=cut)
        if chosen is None:
            _check_reach(spec, cut)
    folder.path.mkdir(parents=True, exist_ok=True)
    with exclusive(folder.lock, wait_seconds=0.0, holder=_BUSY):
        _claim(space, folder)
        if untrained:
            setup.splits_of(spec, folder)  # images that cannot be read fail no training
        if space.target is not None and reach.is_missing(space, folder):
            for table in reach.tables(space, space.target, folder):
                write_whole(folder.times_in(table.precision), to_json(table))
        ended = yield from _run(spec, folder)
        if ended.ended_well:
            yield _cut(folder, ended.trial, cut if chosen is None else chosen(cut))


def fine_tuned(
    space: SearchSpace, folder: RunFolder, cut: Cut, *, epochs: int
) -> Iterator[EpochReport | TrialResult | Point]:
    """The run's baseline cut again and fine-tuned, as a trial of the run.

    Yields a report per epoch, the trial's result and, if it succeeded, its point.
    """
    tuning = space.fine_tuning(epochs)
    spec = dataclasses.replace(
        setup.alone(space.baseline_spec()),
        kind="search",
        name=_tuned(folder, f"tuned-{epochs}-{cut.name}", cut, tuning),
        method="plain",
        start="baseline",
        training=None,
        cuts=(cut,),
        screening=(),
        fine_tuning=tuning,
    )
    with exclusive(folder.lock, wait_seconds=0.0, holder=_BUSY):
        ended = yield from _run(spec, folder)
        if ended.own is not None:
            report.write(folder)
            yield ended.own


def _tuned(folder: RunFolder, name: str, cut: Cut, tuning: Training | None) -> str:
    """The trial that fine-tunes `cut`: by its name, numbered where another trial has that."""

    def is_its_own(one: str) -> bool:
        place = folder.trial(one)
        made = place.read_spec() if place.spec.exists() else None
        return made is None or (made.cuts, made.fine_tuning) == ((cut,), tuning)

    return next(filter(is_its_own, numbered(name)))


def _run(
    spec: TrialSpec, folder: RunFolder
) -> Generator[EpochReport | TrialResult, None, TrialResult]:
    """Runs a trial and adds its points to the run; one that failed is forgotten, to try again."""
    for item in trial.run(spec, folder):
        yield item
    assert isinstance(item, TrialResult)
    if item.ended_well:
        for point in item.points:
            _keep(folder, point)
    else:
        folder.trial(item.trial).result.unlink()
    return item


def recut(
    folder: RunFolder, name: str, cut: Cut, *, chosen: Callable[[Cut], Cut] | None = None
) -> Point:
    """A further point from the stored weights of the trial `name`; nothing is trained.

    `chosen` makes ranks of the cut, as a time budget needs, while nothing is at work in the run.

    Raises:
        InputError: no such trial, another command is at work in the run, or the budget is out of
            reach.
    """
    with exclusive(folder.lock, wait_seconds=0.0, holder=_BUSY):
        return _cut(folder, name, cut if chosen is None else chosen(cut))


_BUSY = "another command is at work in this folder"


def _baseline(space: SearchSpace) -> TrialSpec:
    """The training of the baseline alone."""
    return setup.alone(dataclasses.replace(space.baseline_spec(), cuts=(), screening=()))


def _claim(space: SearchSpace, folder: RunFolder) -> None:
    """Makes `folder` the run of `space`, or checks that its baseline is the same."""
    if not folder.search.is_file():
        RunFolder.create(folder.path)
        write_environment(folder, seed=space.seed)
        write_whole(folder.search, space.dump())
        return
    spec, what = _baseline(space), None
    place = folder.trial(spec.name)
    made = place.read_spec() if place.spec.exists() else spec
    if _baseline(load_space(folder.search)) != spec or made.workload != spec.workload:
        what = "another baseline"
    elif not _weights_are_as_given(spec, folder):
        what = f"the network that {spec.workload.weights} held before"
    if what is not None:
        raise InputError(f"{folder.path}: has {what}; give another folder (--run)")


def _cut(folder: RunFolder, name: str, cut: Cut) -> Point:
    """The run's point of this cut, made if it is missing."""
    for known in folder.read_points():
        same = known.trial == name and known.cut == cut and known.role != "screened_out"
        if same and folder.weights(known).exists():
            return known
    point = trial.cut_again(folder, name, cut)
    _keep(folder, point)
    report.write(folder)
    return point


def _keep(folder: RunFolder, point: Point) -> None:
    """Adds a point unless the run has it."""
    if point not in folder.read_points():
        append_record(folder.points, point)


def _check_reach(spec: TrialSpec, cut: Cut) -> None:
    """Raises InputError if no weights of the baseline could be cut so; trains nothing."""
    if "trained" in TAKES[cut.scheme]:
        return  # what these factors can reach is known when they are there
    network = setup.untrained(spec).eval()
    survey.check_reach(network, example(data.describe(spec.workload.data), "cpu"), cut)


def _weights_are_as_given(spec: TrialSpec, folder: RunFolder) -> bool:
    """Whether the stored weights of a given network are still those of the file."""
    kept = folder.trial(spec.name).weights
    if spec.workload.weights in (None, *PUBLISHERS) or not kept.exists():
        return True
    now, then = setup.start(spec, folder), setup.untrained(spec)
    load_tensors(then, kept)
    pairs = zip(now.state_dict().values(), then.state_dict().values(), strict=True)
    return all(torch.equal(one.cpu(), other) for one, other in pairs)
