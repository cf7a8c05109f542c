"""`trp-search export`, `evaluate` and `refit`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from trp_search import report
from trp_search.cli.arguments import Data, Formats, Json, Network, Run, Trust, option
from trp_search.cli.budget import FLAGS, budgeted
from trp_search.cli.console import following, line, pairs, raw
from trp_search.cli.formatting import command, here
from trp_search.cli.help import LIMIT, WRITTEN
from trp_search.cli.signals import StoppedError
from trp_search.errors import InputError, TrpSearchError
from trp_search.export.bundle import Card, read_card, vacant
from trp_search.export.opened import opened
from trp_search.records import (
    DataSpec,
    EpochReport,
    Point,
    TrialResult,
    from_json,
    problem,
    to_dict,
)
from trp_search.records.objectives import TIMES
from trp_search.records.scores import Score
from trp_search.report.formatting import scored, sizes
from trp_search.report.times import clock
from trp_search.selection.budgets import Budget
from trp_search.selection.select import within
from trp_search.selection.snapshot import Snapshot
from trp_search.space import load_space
from trp_search.store import RunFolder


@budgeted
def export(  # noqa: PLR0913  options of a command
    run: Run,
    out: Annotated[Path, option("DIR", "the bundle, a new folder", WRITTEN)],
    point: Annotated[str | None, option("ID", "this point of the run", LIMIT)] = None,
    network: Network = None,
    form: Formats = None,
    licence: Annotated[
        str | None, option("L", "licence of the weights, for the card", WRITTEN)
    ] = None,
    *,
    budget: Budget | None,
    trust: Trust = False,
) -> None:
    """Write a point as a bundle, verified in a fresh process."""
    if (point is None) == (budget is None):
        raise InputError(f"export: give --point or one of {FLAGS}")
    found = Snapshot.of(run)
    chosen = within(found, budget).point if budget is not None else found.point(str(point))
    from trp_search.workloads.trust import check_run

    check_run(found.folder, found.space.workload, trust=trust, network=network)
    export_bundle(found, chosen, out, network=network, formats=checked(form), licence=licence)


def checked(formats: Sequence[str] | None) -> Sequence[str]:
    """The further formats that were asked for; raises InputError where one cannot be written."""
    from trp_search.export.formats import check_formats

    check_formats(formats or ())
    return formats or ()


def export_bundle(
    run: Snapshot,
    point: Point,
    out: Path,
    *,
    network: str | None = None,
    formats: Sequence[str] = (),
    licence: str | None = None,
) -> None:
    """Writes a point of a trusted run as a bundle and prints its metrics."""
    vacant(out)
    from trp_search.export.card import file_rows
    from trp_search.export.evaluate import come_along
    from trp_search.export.formats import FORMATS
    from trp_search.export.write import export_point
    from trp_search.workloads.callables import is_callable_name

    line(f"Writing point {point.id} and scoring it again in a fresh process ...")
    bundle = here(
        export_point(run, point, out, network=network, formats=formats, licence=licence, trust=True)
    )
    card = read_card(bundle)
    if point.id not in run.tests:
        report.write(run.folder)  # with the score on test
    line(f"Exported point {point.id}: {bundle}", style="bold")
    pairs(
        [
            *_scores(card),
            ("speedup", TIMES(point.speedup)),
            *sizes(point),
            *map(clock, card.latencies),
            *file_rows(card),
        ]
    )
    name = card.workload.network.name
    own = is_callable_name(name)
    given, options = (", network=...", ["--network", name]) if own else ("", [])
    if not come_along(card.workload.data):
        options += ["--data", str(here(run.folder.path))]
    again = command("evaluate", bundle, *options)
    load = f'network = trp_search.load("{bundle}"{given})'
    following([load if point.int8 is None else f"{load}  # in float32", again])
    missing = [FORMATS[name].file for name in formats if FORMATS[name].file in card.not_written]
    if missing:
        raise TrpSearchError(f"the bundle was written without {', '.join(missing)}")


def _scores(card: Card) -> list[tuple[str, str]]:
    rows = [("validation", f"{scored(card.point.score)}, as in the run")]
    if card.saw_validation:
        rows = [("validation", "trained on as well, so it says nothing")]
    return [*rows, ("test", scored(card.test.score) if card.test else "not scored")]


def evaluate(
    bundle: Annotated[Path, typer.Argument(metavar="DIR", help="a bundle")],
    data: Data = None,
    *,
    test: Annotated[bool, typer.Option("--test", help="score the test split too")] = False,
    network: Network = None,
    as_json: Json = False,
    trust: Trust = False,
) -> None:
    """Score a bundle again: its metric and multiply-adds."""
    card = opened(bundle).card
    spec = images(data, trust=trust)
    from trp_search.export.evaluate import evaluate_bundle

    found = evaluate_bundle(bundle, network=network, data=spec, test=test)
    note = _doubt(card, spec, found.validation.score)
    if as_json:
        scores = {"validation": found.validation, "test": found.test}
        values = {name: to_dict(s.score) if s else None for name, s in scores.items()}
        told = {"note": note} if note else {}
        raw(json.dumps({**values, "macs": found.macs, "parameters": found.parameters, **told}))
        return
    int8 = card.point.int8
    pairs(
        [
            *([("network", f"int8, run by {int8.runtime}")] if int8 else []),
            ("validation", "; ".join(filter(None, [scored(found.validation.score), note]))),
            ("test", scored(found.test.score) if found.test else "not asked for (--test)"),
            ("multiply-adds", f"{found.macs:,}"),
            ("parameters", f"{found.parameters:,}"),
            ("device", found.device),
        ]
    )


def _doubt(card: Card, given: DataSpec | None, score: Score) -> str:
    """What a reader of the score on validation should know; empty if nothing."""
    own = card.workload.data
    if card.saw_validation:
        return "trained on as well, so it says nothing"
    if given is None or dataclasses.replace(given, root=own.root) == own:
        return "" if score == card.point.score else f"its card says {card.point.score.shown}"
    apart = card.workload.weights is not None  # validation is of the held-out images
    alike = (given.name, given.options) == (own.name, own.options)
    if alike and not apart and given.learnt != own.learnt:
        return "divided otherwise than for its training: some may be images that it was trained on"
    return ""


def images(given: str | None, *, trust: bool) -> DataSpec | None:
    """The images that the caller names, if any: only these may be code.

    A run folder may be anybody's: its images may be code if `check_images` or `trust` allows it.
    """
    if given is None:
        return None
    if given.startswith("{"):
        try:
            return from_json(DataSpec, given)
        except ValueError as error:
            raise InputError(f"--data: {problem(error, DataSpec)}") from None
    path = Path(given)
    if not path.exists():
        return DataSpec(name=given)
    space = RunFolder.open(path).search if path.is_dir() else path
    from trp_search.workloads.configured import configured

    found = configured(load_space(space).workload).data
    if space == RunFolder(path=space.parent).search:
        from trp_search.workloads.trust import check_images

        check_images(found, space, trust=trust)
    return found


def refit(
    run: Run,
    point: Annotated[str, option("ID", "a point of the run")],
    out: Annotated[
        Path | None, option("DIR", "a new folder [default: RUN/models/refit-ID]")
    ] = None,
    *,
    trust: Trust = False,
) -> None:
    """Retrain a point with the full recipe, and export it.

    It is trained on training and validation images together.
    """
    folder = RunFolder.open(run)
    target = out or folder.models / f"refit-{point}"
    vacant(target)
    from trp_search.runs.refit import refit as training
    from trp_search.workloads.trust import check_run

    check_run(folder, load_space(folder.search).workload, trust=trust)
    with stoppable():
        result = follow(training(folder, point))
    if result.own is None:
        raise TrpSearchError(f"the refit did not end well: {result.why_not}")
    export_bundle(Snapshot.of(folder), result.own, target)


def follow(reports: Iterator[EpochReport | TrialResult]) -> TrialResult:
    """Prints each epoch; returns the result."""
    for item in reports:
        if isinstance(item, TrialResult):
            return item
        line(epoch(item))
    raise AssertionError("a trial ends with its result")


def epoch(report: EpochReport) -> str:
    """One epoch as a line."""
    loss = "not finite" if report.loss is None else f"{report.loss:.4f}"
    return f"{report.trial}  epoch {report.epoch:>3} of {report.epochs}  loss {loss}"


@contextmanager
def stoppable() -> Iterator[None]:
    """Adds the command that continues to an interrupt inside the block."""
    try:
        yield
    except KeyboardInterrupt:
        raise StoppedError("; run the same command again to continue from the last epoch") from None
