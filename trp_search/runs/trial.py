"""One trial, from its specification to its points. It knows no scheduler."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress

from trp_search.errors import InputError, OutOfReachError, in_words
from trp_search.progress import tracked
from trp_search.records import (
    Cut,
    EpochReport,
    MaxDrop,
    Point,
    RungScore,
    Speedup,
    Training,
    TrialResult,
    TrialSpec,
    to_json,
)
from trp_search.runs import int8, networks, setup
from trp_search.runs.fastest import fastest_of
from trp_search.runs.fine_tuning import tuned
from trp_search.runs.setup import Setup
from trp_search.scoring.candidate import (
    Cuts,
    Scored,
    score_uncut,
    settle_,
)
from trp_search.scoring.points import PointFactory
from trp_search.store import (
    RunFolder,
    TrialFolder,
    append_record,
    numbered,
    unwritable,
    write_whole,
)
from trp_search.tasks.task import DivergedError, threads
from trp_search.training.checkpoint import save_nested, save_weights
from trp_search.training.loop import train


def run(spec: TrialSpec, folder: RunFolder) -> Iterator[EpochReport | TrialResult]:
    """Trains and scores; yields a report per epoch and, last, the result.

    Everything is stored in the trial's folder: a killed trial continues from its last checkpoint
    and repeats its last report, a finished one yields its result at once. A failure is a result
    too; only a disk that cannot be written is raised.
    """
    place = folder.trial(spec.name)
    result = place.read_result()
    if result is None:
        write_whole(place.spec, to_json(spec))
        with threads(spec.threads):
            result = yield from _attempt(spec, folder, place)
        write_whole(place.result, to_json(result))
        for checkpoint in (place.checkpoint, place.fine_tuning):
            checkpoint.unlink(missing_ok=True)
    yield result


def _attempt(
    spec: TrialSpec, folder: RunFolder, place: TrialFolder
) -> Generator[EpochReport, None, TrialResult]:
    try:
        return (yield from _train_and_score(spec, folder, place))
    except DivergedError as error:
        return TrialResult(trial=spec.name, points=(), diverged=str(error))
    except OutOfReachError as error:
        return TrialResult(trial=spec.name, points=(), failed=in_words(error), out_of_reach=True)
    except Exception as error:  # a trial's crash is its result, not the search's end
        if unwritable(error):
            raise
        return TrialResult(trial=spec.name, points=(), failed=in_words(error))


def _train_and_score(
    spec: TrialSpec, folder: RunFolder, place: TrialFolder
) -> Generator[EpochReport, None, TrialResult]:
    if spec.weights_of is not None:
        return (yield from _cut_on(spec, spec.weights_of, folder))
    begun = setup.begin(spec, folder)
    if spec.training is not None:

        def note(report: EpochReport) -> EpochReport:
            return _noted(_scored_now(report, begun), spec, place)

        if place.checkpoint.exists():
            yield from place.read_epochs()[-1:]  # whoever judges may not have heard of it
        yield from train(begun.network, begun.training(spec.training), note=note)
    batch_norm = "as trained"
    if begun.method and begun.method.any_ranks:  # where statistics are of networks at any rank
        images = spec.cuts[0].batch_norm_images
        batch_norm = settle_(begun.network, begun.splits.train, images)
    save_weights(place.weights, begun.network)
    save_nested(place.nested, begun.network)
    points: list[Point] = []
    result = TrialResult(trial=spec.name, points=())
    try:
        refused = yield from _score(begun, points, batch_norm=batch_norm)
        result = dataclasses.replace(result, refused=refused)
    except DivergedError as error:
        result = dataclasses.replace(result, diverged=str(error))
    return dataclasses.replace(result, points=tuple(points), seconds=place.seconds())


def _cut_on(
    spec: TrialSpec, trained: str, folder: RunFolder
) -> Generator[EpochReport, None, TrialResult]:
    """Points of the trial `trained`, as `spec` cuts and fine-tunes it; in int8 as well if it is."""
    begun, factory = _again(trained, folder)
    factory = dataclasses.replace(factory, by_ranks=True)
    cuts, points, refused = begun.cuts, [], {}
    for cut in tracked(spec.cuts, "scoring ranks", total=len(spec.cuts), unit="networks"):
        try:
            scored = cuts.score(cut)
            if spec.fine_tuning is not None:
                scored = yield from _tuned(scored, begun.again(spec), spec.fine_tuning)
                factory = _of_winner(factory, spec, seconds=folder.trial(spec.name).seconds())
            points.append(_kept(begun.place, factory, cut, scored))
            if begun.spec.int8 is not None:
                points.append(int8.of_cut(begun, scored.made.network, points[-1]))
        except (InputError, DivergedError) as error:
            refused[cut.name] = str(error)
    return TrialResult(trial=spec.name, points=tuple(points), refused=refused)


def _of_winner(factory: PointFactory, spec: TrialSpec, *, seconds: float) -> PointFactory:
    own = dataclasses.replace(factory.spec, cuts=spec.cuts, fine_tuning=spec.fine_tuning)
    whole = factory.seconds + seconds
    return dataclasses.replace(factory, spec=own, seconds=whole, winner=True)


def _noted(
    report: EpochReport, spec: TrialSpec, place: TrialFolder, *, before: int = 0
) -> EpochReport:
    """The report kept; `before` epochs of the trial came before this training's."""
    told = dataclasses.replace(report, epoch=before + report.epoch, epochs=spec.epochs)
    append_record(place.epochs, told)
    return told


def _scored_now(report: EpochReport, begun: Setup) -> EpochReport:
    """The report with the scores that its epoch asks for: of a rung, of several budgets."""
    spec = begun.spec
    at_rung = report.epoch in spec.rungs
    any_budget = begun.method is not None and begun.method.any_budget
    if not (at_rung or any_budget):
        return report
    now = functools.partial(_score_now, begun, begun.cuts)
    return dataclasses.replace(
        report,
        rung_score=now(spec.cuts[0], spec.screening_images, as_asked=True) if at_rung else None,
        curve=_curve(now, spec) if any_budget else (),
    )


def _score_now(
    begun: Setup, cuts: Cuts, cut: Cut, images: int, *, as_asked: bool = False
) -> RungScore:
    """The score of a cut on some images, if training ended now; in float32 unless `as_asked`."""
    scored = cuts.score(cut, images=images)
    cost = scored.made.cost
    now = RungScore(
        metric=scored.validation.score.value,
        speedup=begun.dense.macs / cost.macs,
        parameters=cost.parameters,
        bytes=cost.bytes,
        predicted=begun.predict(scored.made.layers),
    )
    if begun.spec.int8 is None or not as_asked:
        return now
    return int8.at_rung(begun, scored.made, now, images=images)


def _curve(now: Callable[[Cut, int], RungScore], spec: TrialSpec) -> tuple[RungScore, ...]:
    """The scores of the slowest, the middle and the fastest cut of a training for all budgets."""
    budgets = [cut for cut in (*spec.cuts, *spec.screening) if isinstance(cut.keep, Speedup)]
    asked = sorted(budgets, key=lambda cut: float(cut.keep.amount))
    found = []
    for cut in dict.fromkeys((*asked[:1], *asked[len(asked) // 2 :][:1], *asked[-1:])):
        with suppress(InputError, DivergedError):  # out of reach, or not yet a network
            found.append(now(dataclasses.replace(cut, batch_norm_images=_GLANCE), _GLANCE))
    return tuple(found)


_GLANCE = 256  # images of a score after each epoch


def _score(
    begun: Setup, points: list[Point], *, batch_norm: str
) -> Generator[EpochReport, None, dict[str, str]]:
    """Adds every point of the trial and stores its weights; returns cuts that gave no point."""
    spec, place, cuts = begun.spec, begun.place, begun.cuts
    factory = begun.points(place.seconds())
    if spec.score_uncut:
        uncut = score_uncut(begun.network, begun.splits, begun.task, batch_norm=batch_norm)
        points.append(factory.point(uncut, None))
    for cut in spec.cuts:
        scored = cuts.score(cut)
        if spec.fine_tuning is not None:
            points.append(_kept(place, factory, cut, scored, untuned=True))
            scored = yield from _tuned(scored, begun, spec.fine_tuning)
            factory = dataclasses.replace(factory, seconds=place.seconds())
        points.append(_kept(place, factory, cut, scored))
        if spec.int8 is not None:
            points.append(int8.of_trial(begun, scored.made.network, points[-1]))
    screening = cuts.screen(spec.screening, images=spec.screening_images)
    points += [_kept(place, factory, cut, scored) for cut, scored in screening.survivors]
    points += [factory.point(scored, cut, screened_out=True) for cut, scored in screening.behind]
    return dict(screening.refused)


def _tuned(
    scored: Scored, begun: Setup, settings: Training
) -> Generator[EpochReport, None, Scored]:
    before = begun.spec.training.epochs if begun.spec.training is not None else 0

    def note(report: EpochReport) -> EpochReport:
        return _noted(report, begun.spec, begun.place, before=before)

    return (yield from tuned(scored, begun, settings, note))


def _kept(
    place: TrialFolder,
    factory: PointFactory,
    cut: Cut,
    scored: Scored,
    *,
    untuned: bool = False,
    called: str | None = None,
) -> Point:
    """The point of a cut, its weights written; its id is `called` if that is given."""
    point = factory.point(scored, cut, untuned=untuned)
    point = dataclasses.replace(point, id=called or point.id)
    save_weights(place.point_weights(point.id), scored.made.network)
    return point


def cut_again(folder: RunFolder, name: str, cut: Cut) -> Point:
    """A further point from the stored weights of the trial `name`, not yet added to the run.

    Raises:
        InputError: there is no such trial, its weights are gone or the budget is out of reach, or a
            drop is to be measured on images that it was trained on.
        DivergedError: a loss that is not finite.
    """
    place = folder.trial(name)
    result = place.read_result()
    if result is None or not (result.ended_well or result.points):
        known = ", ".join(n for n in folder.trial_names() if folder.trial(n).result.exists())
        raise InputError(
            f"{folder.path}: no trial {name!r} that ended well; ended: {known or 'none'}"
        )
    begun, factory = _again(name, folder)
    spec = begun.spec
    if spec.fit_on_validation and isinstance(cut.keep, MaxDrop):
        raise InputError(f"trial {name!r}: was trained on validation; --max-drop is not for it")
    if spec.kind == "search" and spec.training is None and cut.scheme != spec.cuts[0].scheme:
        why = f"its method, {spec.method}, trains nothing before its cut"
        raise InputError(f"trial {name!r}: {why}; cut the weights it has by --trial baseline")
    with threads(spec.threads):
        cuts = begun.cuts
        if isinstance(cut.keep, MaxDrop):
            cut = fastest_of(folder, name, cut, lambda one: cuts.score(one).validation.score)
        called = _called(folder, factory.name(cut), cut)
        return _kept(place, factory, cut, cuts.score(cut), called=called)


def _called(folder: RunFolder, name: str, cut: Cut) -> str:
    """The id of the point of a further cut: its name, numbered where another cut has it."""
    known = {point.id: point for point in folder.read_points()}
    called = next(one for one in numbered(name) if one not in known or known[one].cut == cut)
    if called in known and known[called].tuned:
        raise InputError(f"{folder.path}: point {called!r} is this cut, fine-tuned")
    return called


def _again(name: str, folder: RunFolder) -> tuple[Setup, PointFactory]:
    """What further points from the stored weights of a trial that ended are made with."""
    place = folder.trial(name)
    spec = setup.on_this_machine(place.read_spec())
    result = place.read_result()
    assert result is not None, name
    with threads(spec.threads):
        begun = setup.begin(spec, folder, network=networks.trained(folder, name))
    return begun, begun.points(result.seconds)
