"""A running search on the terminal: a view that is redrawn, or plain lines in a log."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from trp_search.cli.console import OUT, line, shown
from trp_search.cli.formatting import clock
from trp_search.cli.progress import is_due, measures, sentence, wanted
from trp_search.cli.supervised import lost
from trp_search.cli.tables import point_table
from trp_search.cli.watch import Watch
from trp_search.progress import Pace, Step, heard
from trp_search.records import BASELINE, EpochReport, Progress, TrialResult
from trp_search.records.objectives import OBJECTIVES, TIMES
from trp_search.report.formatting import count
from trp_search.search.driver import OnEvent
from trp_search.search.events import Epoch, Event, Finished, Lost, Ranked, Stage, Started, Working

_ROWS = 8
_BARS = 8
_BAR_WIDTH, _TRIALS_WIDTH = 12, 30
_TOLD = 4


@contextmanager
def watching() -> Iterator[OnEvent]:
    """Yields a listener that shows a search while the block runs."""
    watch, pace = Watch(started=time.monotonic()), Pace()
    if not OUT.is_terminal or OUT.is_dumb_terminal:
        yield lambda event: _tell(watch, event)
        return

    def hear(step: Step) -> None:
        watch.step = pace.hear(step, now=time.time())

    with (
        heard(hear),
        Live(
            get_renderable=lambda: picture(watch, now=time.monotonic()),
            console=OUT,
            refresh_per_second=4,
            transient=True,
        ),
    ):
        yield lambda event: _update(watch, event)


def _update(watch: Watch, event: Event) -> None:
    match event:
        case Started():
            watch.start(event)
        case Epoch():
            watch.epoch(event.report, now=time.monotonic())
        case Working():
            watch.within[event.trial] = event.progress
        case Finished() | Ranked():
            _ended(watch, event)
        case Stage():
            watch.stage = event.text
        case Lost():
            lost(event.reason)


def _ended(watch: Watch, event: Finished | Ranked) -> None:
    """A training or a batch of ranks came to its end."""
    if isinstance(event, Ranked):
        watch.rank(event, now=time.monotonic())
    else:
        watch.finish(event)
    if event.result is not None and event.result.ending in ("failed", "diverged"):
        line(ending(watch, event.result), style="yellow")


def _tell(watch: Watch, event: Event) -> None:
    now = time.monotonic() - watch.started
    stamp = clock(now)
    _update(watch, event)
    if isinstance(event, Working):
        told = under_way(watch)
        if told and wanted() and is_due(now, watch.told):
            watch.told = now
            line(f"{stamp}  {told}")
        return
    if isinstance(event, Started):
        earlier = f", {event.done} of them done earlier" if event.done else ""
        line(f"{stamp}  {event.trials} trials{earlier}, {event.concurrency} at a time")
    elif isinstance(event, Finished) and (event.result.ended_well or event.result.stopped):
        line(f"{stamp}  {ending(watch, event.result)}{_rung_score(watch)}")
    elif isinstance(event, Ranked) and event.result is not None and event.result.ended_well:
        line(f"{stamp}  {_scored(watch, event.result)}{_rung_score(watch)}")
    elif isinstance(event, Stage):
        line(f"{stamp}  {event.text}")


def under_way(watch: Watch) -> str:
    """The trials under way in a line; empty between steps."""
    steps = [(name, watch.within.get(name)) for name in watch.names]
    known = [(name, step) for name, step in steps if step is not None and not step.is_over]
    more = f"; and {len(known) - _TOLD} more" if len(known) > _TOLD else ""
    told = [f"{_called(watch, n)}: {sentence(step)}{_curve(watch, n)}" for n, step in known[:_TOLD]]
    return "; ".join(told) + more


def _curve(watch: Watch, name: str) -> str:
    """What an elastic training's network scored at some budgets after its last epoch."""
    report = watch.running.get(name)
    if report is None or not report.curve:
        return ""
    show = OBJECTIVES[watch.metric].show
    scores = [f"{show(score.metric)} at {TIMES(score.speedup)}" for score in report.curve]
    return f" ({', '.join(scores)})"


def _called(watch: Watch, trial: str) -> str:
    if watch.ranked is not None:  # all trainings have ended
        return f"ranks of trial {watch.ranked[0]}"
    return "baseline" if trial == BASELINE else f"trial {trial}"


def _scored(watch: Watch, result: TrialResult) -> str:
    """What a batch of ranks gave, in a line."""
    refused = f", {len(result.refused)} refused" if result.refused else ""
    return f"{_called(watch, result.trial)}: {count(len(result.points), 'point')}{refused}"


def ending(watch: Watch, result: TrialResult) -> str:
    """How one training ended, in a line."""
    name = _called(watch, result.trial)
    if result.why_not:
        return f"{name} {result.ending}: {result.why_not}"
    point = result.own or result.points[0]
    precision = ", int8" if point.int8 else ""
    return f"{name}: {point.score.shown} at {TIMES(point.speedup)}{precision}"


def _rung_score(watch: Watch) -> str:
    left = watch.seconds_left(time.monotonic())
    covered = "" if watch.hypervolume is None else f", hypervolume {watch.hypervolume:.4g}"
    rest = "" if left is None else f", about {clock(left)} to go"
    _, done, total = watch.ranked or ("", watch.done, watch.trials)
    return f"  ({done} of {total} done, {len(watch.front)} on the front{covered}{rest})"


def picture(watch: Watch, *, now: float) -> RenderableType:
    """The search as it stands at `now`."""
    return Group(_headline(watch, now), Text(), *_front(watch), _bars(watch))


def _headline(watch: Watch, now: float) -> RenderableType:
    head: RenderableType
    left = watch.seconds_left(now)
    rest = "" if left is None else f", about {clock(left)} to go"
    head = Text.assemble(
        (shown(watch.stage), "bold"), (f"   {clock(now - watch.started)} so far{rest}", "dim")
    )
    if watch.step is not None and not watch.step.is_over:
        head = Group(head, Text(f"  {shown(sentence(watch.step))}", style="dim"))
    if not watch.trials:
        return head
    bad = f", {watch.stopped} stopped" if watch.stopped else ""
    bad += f", {watch.unsuccessful} failed or diverged" if watch.unsuccessful else ""
    running = f", {len(watch.running)} running" if watch.running else ""
    bar = ProgressBar(total=watch.trials, completed=watch.done, width=_TRIALS_WIDTH)
    progress = Table.grid(padding=(0, 2))
    progress.add_row(bar, Text(f"{watch.done} of {watch.trials} trials{bad}{running}"))
    if watch.ranked is not None:
        trial, done, total = watch.ranked
        bar = ProgressBar(total=total, completed=done, width=_TRIALS_WIDTH)
        progress.add_row(bar, Text(f"{done} of {total} proposals of ranks of trial {trial}"))
    return Group(head, progress)


def _front(watch: Watch) -> list[RenderableType]:
    front = watch.front
    if not front and not watch.baseline:
        return []
    shown = f", {_ROWS} of them shown" if len(front) > _ROWS else ""
    gained = "" if watch.hypervolume is None else f"   hypervolume {watch.hypervolume:.4g}"
    title = f"Front so far: {count(len(front), 'point')}{shown}"
    return [
        Text.assemble((title, "bold"), (gained, "dim")),
        point_table(front, watch.objectives, baseline=watch.baseline, most=_ROWS),
        Text(),
    ]


def _bars(watch: Watch) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    names = watch.names
    for name in names[:_BARS]:
        table.add_row(*_bar(watch, name))
    if len(names) > _BARS:
        table.add_row(Text(f"and {len(names) - _BARS} more", style="dim"))
    return table


def _is_past(within: Progress, report: EpochReport | None) -> bool:
    """Whether what a worker told last is of an epoch that has been reported since."""
    if report is None or within.epoch is None or within.epochs != report.epochs:
        return False  # fine-tuning counts its epochs from one again
    return within.epoch <= report.epoch


def _bar(watch: Watch, name: str) -> tuple[RenderableType, ...]:
    """A trial's name, its share done, its epoch and the speed of it, or its last score."""
    report, within = watch.running.get(name), watch.within.get(name)
    epoch, told = "", ""
    if report is not None:
        metric = OBJECTIVES[watch.metric]
        epoch = f"epoch {report.epoch} of {report.epochs}"
        told = f"{metric.show(report.metric)} validation"
    if within is not None and not (within.is_over or _is_past(within, report)):
        epoch = f"epoch {within.epoch} of {within.epochs}" if within.epoch else within.what
        told = measures(within)
    told += _curve(watch, name)
    return (
        Text(shown(_called(watch, name))),
        ProgressBar(total=1.0, completed=watch.share(name), width=_BAR_WIDTH),
        Text(shown(epoch)),
        Text(shown(told), style="dim"),
    )
