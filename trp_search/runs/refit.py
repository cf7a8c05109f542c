"""Trains a chosen setting by the full recipe, on training and validation images together."""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Iterator

from trp_search.errors import InputError
from trp_search.records import BASELINE, EpochReport, Point, Training, TrialResult, TrialSpec
from trp_search.runs import networks, setup, trial
from trp_search.space import load_space
from trp_search.store import RunFolder, exclusive


def refit(folder: RunFolder, point_id: str) -> Iterator[EpochReport | TrialResult]:
    """Trains a point's setting again on training and validation images together, and cuts it.

    If the setting starts from the baseline, that is trained first by the full recipe; one that
    starts from scratch gets the recipe's epochs. The new point is scored on test, once.

    Raises:
        InputError: no such point, or no trial's.
    """
    point = folder.point(point_id)
    if point.int8 is not None:
        raise InputError(f"point {point_id!r}: is in int8; refit {point.int8.of!r}, then quantise")
    if not point.searched or point.cut is None:
        raise InputError(f"point {point_id!r}: a {point.role} point has no setting to refit")
    spec = setup.alone(folder.trial(point.trial).read_spec())
    recipe = setup.alone(folder.trial(BASELINE).read_spec())
    final = dataclasses.replace(
        spec,
        kind="refit",
        name=f"refit-{point_id}",
        cuts=(point.cut,),
        fine_tuning=_fine_tuning(spec, point, folder),
        screening=(),
        rungs=(),
        score_uncut=False,
        int8=None,
        fit_on_validation=True,
    )
    if spec.start == "baseline" and recipe.training is not None:
        final = dataclasses.replace(final, baseline=f"{final.name}-plain")
        baseline = dataclasses.replace(
            recipe,
            kind="refit",
            name=final.baseline,
            cuts=(),
            screening=(),
            score_uncut=False,
            fit_on_validation=True,
        )
        first = yield from _run(baseline, folder)
        if not first.ended_well:
            yield first
            return
    elif spec.training is not None and spec.start == "scratch":
        epochs = max(spec.training.epochs, load_space(folder.search).training.epochs)
        training = dataclasses.replace(spec.training, epochs=epochs)
        final = dataclasses.replace(final, training=training)
    yield (yield from _run(final, folder))


def _fine_tuning(spec: TrialSpec, point: Point, folder: RunFolder) -> Training | None:
    """That of the point: its trial's, or that of winners of a search over ranks."""
    if point.winner:
        space = load_space(folder.search)
        asked = space.searches_ranks(spec)
        return space.fine_tuning(asked.fine_tuning_epochs) if asked else None
    return spec.fine_tuning if point.tuned else None


def _run(spec: TrialSpec, folder: RunFolder) -> Generator[EpochReport, None, TrialResult]:
    """Runs a refit, adds its points to the run and scores them on test."""
    place = folder.trial(spec.name)
    busy = "another refit of this point is at work"
    with exclusive(place.lock, wait_seconds=0.0, holder=busy):
        place.forget_failure()
        for item in trial.run(spec, folder):
            if isinstance(item, TrialResult):
                folder.add_points(item.points)
                for point in item.points:
                    networks.score_test(folder, point)
                return item
            yield item
    raise AssertionError("a trial ends with its result")
