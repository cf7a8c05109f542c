"""`trp-search select`: the point to use at a budget."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

from trp_search.cli.arguments import Json, Run, Speedup
from trp_search.cli.console import following, line, pairs, raw, warn
from trp_search.cli.words import command, here
from trp_search.errors import InputError, NothingFoundError
from trp_search.export.choice import Choice, choose
from trp_search.records import TestScore
from trp_search.report.words import percent, points, times
from trp_search.store import RunFolder

_HIDDEN = {"momentum", "nesterov", "weight_decay", "gamma", "channels_last", "precision"}


def select(
    run: Run,
    speedup: Annotated[float, Speedup],
    *,
    as_json: Json = False,
) -> None:
    """Choose the most accurate point at or above a speedup."""
    folder = RunFolder.open(run)
    choice = choose(folder, speedup=speedup)
    test, reason = _test(folder, choice) if choice.reached else (choice.test, "too slow to choose")
    if as_json:
        raw(json.dumps(as_values(choice, test), indent=2))
    else:
        _show(choice, test, reason)
    if not choice.reached:
        raise NothingFoundError(
            f"no point reaches {speedup:g}x; the nearest is {choice.point.id!r} "
            f"at {choice.point.speedup:.2f}x"
        )
    if not as_json:
        path = here(folder.path)
        out = Path("models") / f"{folder.path.name}-{times(choice.point.speedup)[:-1]}x"
        following([command("export", path, "--point", choice.point.id, "--out", out)])


def _test(folder: RunFolder, choice: Choice) -> tuple[TestScore | None, str]:
    """The point's score on test, made now where it was not, or why there is none."""
    if choice.test is not None:
        return choice.test, ""
    from trp_search.trial import score_test

    try:
        return score_test(folder, choice.point.id), ""
    except InputError as error:
        return None, str(error)


def _show(choice: Choice, test: TestScore | None, reason: str) -> None:
    point = choice.point
    heading = "Most accurate on validation" if choice.reached else "Nearest"
    line(f"{heading}: point {point.id}, {times(point.speedup)} fewer multiply-adds", style="bold")
    drop = (
        "" if choice.drop is None else f", {points(choice.drop)} points against the plain network"
    )
    found = f"{percent(point.accuracy)} ({point.correct} of {point.images}){drop}"
    tested = f"{percent(test.accuracy)} ({test.correct} of {test.images})" if test else ""
    pairs(
        [
            ("validation", found),
            ("test", tested or f"not scored yet: {reason}"),
            ("multiply-adds", f"{point.macs:,} of {point.dense_macs:,}"),
            ("parameters", f"{point.parameters:,} of {point.dense_parameters:,}"),
            ("batch norm", point.batch_norm),
        ]
    )
    line()
    line("Settings", style="bold")
    shown = {
        name: value
        for name, value in point.settings.items()
        if name not in _HIDDEN and value is not None
    }
    pairs([(name, _plain(value)) for name, value in shown.items()] or [("", "none recorded")])
    if choice.control is not None:
        control = choice.control
        line()
        warn(
            f"the plain network's own cut {control.id} does better at this budget: "
            f"{percent(control.accuracy)} at {times(control.speedup)}"
        )


def _plain(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def as_values(choice: Choice, test: TestScore | None) -> dict[str, Any]:
    """The choice as plain values; accuracies are shares, counted on the split in their name."""
    point = choice.point
    return {
        "reached": choice.reached,
        "point": point.id,
        "speedup": point.speedup,
        "validation_accuracy": point.accuracy,
        "validation_correct": point.correct,
        "validation_images": point.images,
        "validation_drop": choice.drop,
        "test_accuracy": test.accuracy if test else None,
        "test_correct": test.correct if test else None,
        "test_images": test.images if test else None,
        "macs": point.macs,
        "dense_macs": point.dense_macs,
        "parameters": point.parameters,
        "dense_parameters": point.dense_parameters,
        "settings": point.settings,
        "better_control": choice.control.id if choice.control else None,
    }
