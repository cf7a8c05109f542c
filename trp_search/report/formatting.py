"""Numbers and sentences as the page prints them; plain text, nothing is escaped here."""

from __future__ import annotations

import shlex
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from trp_search.records import BASELINE, Layer, Point, Repeat, Score
from trp_search.records.objectives import OBJECTIVES, PERCENT, TIMES, Objective
from trp_search.report.history import Ends
from trp_search.report.rows import Row, Rows, leading
from trp_search.report.settings import label
from trp_search.report.styles import precision
from trp_search.report.times import UNKNOWN, clock, objective, predicted, slower, unknown
from trp_search.selection import pareto
from trp_search.selection.axes import COUNTED

_NAMED = 24  # trials in one cell of a table


def count(number: int, thing: str) -> str:
    """`1 trial`, `2 trials`."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def size(number: int) -> str:
    """Three digits and a unit: `41.2 M`."""
    for factor, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= 0.9995 * factor:
            return f"{number / factor:.3g}{unit}"
    return f"{number:.3g}"


def distance(drop: float, metric: Objective) -> str:
    """The drop as words: `0.4 points below the baseline`."""
    size = metric.show.difference(drop)
    if size == metric.show.difference(0.0):
        return "level with the baseline"
    return f"{size} {'below' if metric.sign * drop > 0 else 'above'} the baseline"


def missed(name: str, by: float, point: Point) -> tuple[str, str]:
    """A constraint that a point misses, and how far it is from it: `missed by 1.2 points`."""
    far = f"missed by {OBJECTIVES[name].show.difference(by)}"
    return f"constraint on {objective(name)}", UNKNOWN if unknown(name, point) else far


def headline(rows: Rows, ends: Ends) -> str:
    """The result of the search, in one sentence."""
    best = leading(rows)
    if best is None:
        return _nothing(rows, ends)
    found = (
        f"At {TIMES(best.point.speedup)} fewer multiply-adds: "
        f"{best.point.score.shown} on validation"
    )
    return f"{found}." if best.drop is None else f"{found}, {distance(best.drop, rows.metric)}."


def _nothing(rows: Rows, ends: Ends) -> str:
    if rows.trials:
        return f"No trial meets every constraint; {len(rows.trials)} scored so far."
    said = "Nothing has been scored yet"
    if rows.baseline:
        shown = rows.baseline.point.score.shown
        said = f"The baseline reaches {shown} on validation; no trial has been scored yet"
    lost = ends.fruitless
    return f"{said}: {count(lost, 'trial')} ended without a point." if lost else f"{said}."


def on_test(rows: Rows) -> str:
    """The headline's point on test, beside the baseline if that was scored too."""
    best = leading(rows)
    if best is None or best.test is None:
        return ""
    text = f"On test it reaches {best.test.score.shown}"
    if rows.baseline is None or rows.baseline.test is None:
        return f"{text}."
    return f"{text}, the baseline {rows.baseline.test.score.shown}."


def on_the_clock(rows: Rows) -> str:
    """Where the headline's point is slower than the baseline, if anywhere."""
    best = leading(rows)
    said = slower(best.times) if best is not None else ""
    return f"It is {said}." if said else ""


def against_control(rows: Rows) -> str:
    """The headline's point beside the baseline's own cut, as far as both reach."""
    best = leading(rows)
    if best is None or best in rows.controls or not rows.controls:
        return ""
    cuts = [row.point for row in rows.controls]
    rival = pareto.best_at(cuts, speedup=best.point.speedup)
    if rival is None:
        reached = TIMES(max(cut.speedup for cut in cuts))
        return f"The baseline's own cuts, without training, were only tried up to {reached}."
    return (
        f"The baseline, cut to at least that speedup without training, "
        f"reaches {rival.score.shown} at {TIMES(rival.speedup)}."
    )


def kept(layer: Layer) -> str:
    """The energy that schemes keep at a layer's cost: `keeps 97.1 % (channel 93.0 %)`."""
    shares = sorted(layer.kept.items(), key=lambda item: -item[1])
    own = [(name, share) for name, share in shares if name == layer.scheme]
    rest = [f"{name} {PERCENT(share)}" for name, share in shares if name != layer.scheme]
    others = f"; at that cost {', '.join(rest)}" if rest else ""
    return f"keeps {PERCENT(own[0][1])} of energy{others}"


def scheme(layer: Layer) -> str:
    """How a factored layer was: `spatial`, or with its other rank: `tucker, 8 channels in`."""
    inner = "" if layer.rank_in is None else f", {layer.rank_in} channels in"
    return f"{layer.scheme}{inner}"


def unfactored(layer: Layer) -> str:
    """For a layer without a rank: why it is dense, or how sparse it is."""
    if layer.is_sparse:
        return f"sparse: {PERCENT(layer.parameters / layer.dense_parameters)} of its weights left"
    return f"dense: {layer.reason or 'no reason was recorded'}"


def facts(row: Row) -> list[tuple[str, str]]:
    """What was measured at a point: name and value, a score always with its split."""
    point = row.point
    lines = [("speedup", TIMES(point.speedup))]
    if point.role != "refit":
        lines += [
            (f"validation {row.point.score.name}", counted(point.score)),
            ("95 % interval", interval(point.score)),
        ]
    if row.repeats:
        lines.append(repeated(point, row.repeats))
    if row.drop is not None and point.role != "baseline":
        lines.append(against_baseline(row.drop, point.score.metric))
    if row.test is not None:
        lines += [
            (f"test {row.point.score.name}", counted(row.test.score)),
            ("95 % interval, test", interval(row.test.score)),
        ]
    lines += [
        *sizes(point, size),
        *predicted(point.predicted, row.times),
        *map(clock, row.times),
        ("scheme", row.style.name),
        *in_int8(point),
        *_chosen(point),
        ("batch norm", point.batch_norm),
    ]
    return lines + [missed(name, by, point) for name, by in row.violations.items()]


def in_int8(point: Point) -> list[tuple[str, str]]:
    """Of a point in int8: the runtime that it is for, its float network and what stayed float."""
    made = point.int8
    if made is None:
        return []
    images = count(made.images, "training image")
    kept = ", ".join(made.in_float)
    return [
        ("precision", f"int8 for {made.runtime}, calibrated on {images}"),
        ("in float32", f"point {made.of}"),
        *([("layers in float32", kept)] if kept else []),
    ]


def _chosen(point: Point) -> list[tuple[str, str]]:
    """How the ranks were chosen, where the network was not trained for them."""
    if not point.by_ranks:
        return []
    tuned = f", then {count(_epochs(point), 'epoch')} of fine-tuning" if point.winner else ""
    return [("ranks", f"chosen by forward passes of trial {point.trial}'s network{tuned}")]


def _epochs(point: Point) -> int:
    found = point.settings["fine_tuning_epochs"]
    assert isinstance(found, int), found
    return found


def sizes(point: Point, show: Callable[[int], str] = "{:,}".format) -> list[tuple[str, str]]:
    """Everything that is counted of a network, each as a row: `134 k of 297 k`."""
    rows = [
        (axis.name, " of ".join(map(show, axis.counts(point).values())))
        for axis in COUNTED.values()
    ]
    return [*rows, *([("counted", point.counted)] if point.counted else [])]


def against_baseline(drop: float, metric: Objective) -> tuple[str, str]:
    """What is lost of the baseline's metric, as a row: `-0.5 points`."""
    return "against baseline", f"{metric.show.change(-metric.sign * drop)}{metric.show.gap}"


def counted(score: Score) -> str:
    """A score and what it was measured on: `96.5 % (200 images)`."""
    return f"{score.shown} ({count(score.images, 'image')})"


def interval(score: Score) -> str:
    """The 95 % interval that so many images imply: `93.0 to 98.3 %`."""
    return score.metric.show.span(score.low, score.high)


def scored(score: Score) -> str:
    """Both on one line: `96.5 % (200 images; 95 % interval 93.0 to 98.3 %)`."""
    return f"{counted(score)[:-1]}; 95 % interval {interval(score)})"


def repeated(point: Point, repeats: Sequence[Repeat]) -> tuple[str, str]:
    """Repeats with other seeds: how many, and `71.0 % (70.4 to 71.9 %)`, of one `71.0 %`.

    Where their ranks came out otherwise, at which speedups too.
    """
    found = [repeat.score.value for repeat in repeats]
    show = repeats[0].score.metric.show
    ends = f" ({show.span(min(found), max(found))})" if len(found) > 1 else ""
    speedups = their_speedups(repeats)
    at = f" at {speedups}" if speedups != TIMES(point.speedup) else ""
    return f"with {count(len(found), 'other seed')}", f"{show(statistics.mean(found))}{ends}{at}"


def their_speedups(repeats: Sequence[Repeat]) -> str:
    """The speedups of repeats, from the least to the largest: `12.0x`, `11.8 to 12.0x`."""
    found = [repeat.speedup for repeat in repeats]
    low, high = min(found), max(found)
    return TIMES(low) if TIMES(low) == TIMES(high) else TIMES.span(low, high)


def settings(row: Row, names: Sequence[str]) -> list[tuple[str, str]]:
    """The settings of these names that a point has, beside its scheme: name and value."""
    known = {name: value for name, value in row.point.settings.items() if name != "scheme"}
    return [(name, label(known[name])) for name in names if name in known]


def title(row: Row) -> str:
    """The title of a point: `Point 7`, `Baseline`."""
    if row.point.role == "baseline":
        return "Baseline"
    if row.point.trial == BASELINE and row.point.cut is None:
        return f"Baseline, {precision(row.point)}"
    if row.point.trial == BASELINE:
        return f"Baseline, cut ({row.style.label})"
    return f"Point {row.point.id}"


def some(names: Sequence[str]) -> str:
    """The names, or the first of them and how many more there are."""
    rest = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")


def export(row: Row, location: str) -> str:
    """The command that exports a point of the run at `location`."""
    out = f"{location}/models/{row.point.id}"
    run, point, out = (shlex.quote(word) for word in (location, row.point.id, out))
    return f"trp-search export {run} --point {point} --out {out}"


def searched_ranks(points: Iterable[Point]) -> str:
    """How many networks searches over ranks found: `72 networks of trial 2, without training`."""
    found = [point for point in points if point.by_ranks and point.int8 is None]
    trials = Counter(point.trial for point in found if not point.winner)
    named = [f"{count(number, 'network')} of trial {trial}" for trial, number in trials.items()]
    tuned = sum(point.winner for point in found)
    more = f"; {tuned} of them fine-tuned as well" if tuned else ""
    return f"{', '.join(named)}, without training{more}" if named else ""
