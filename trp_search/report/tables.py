"""The page's tables: the front, refits, and trials and cuts without a point."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from trp_search.records import Latency
from trp_search.records.objectives import OBJECTIVES, SPEEDUP, TIMES, Objective
from trp_search.report import formatting, history
from trp_search.report.contents import Contents
from trp_search.report.markup import Section, safe
from trp_search.report.rows import Row, Rows
from trp_search.report.times import objective, value


def front(found: Rows, contents: Contents) -> Section:
    """The front as a table, with every objective of the search."""
    more = [_named(o) for o in contents.objectives if o not in (found.metric, SPEEDUP)]
    sizes = more or ["Parameters"]
    targets = dict.fromkeys(one.target.name for row in found.front for one in row.times)
    clocks = [_time_on(target) for target in targets]
    scores = ["Validation", "Against baseline", "Test"]
    names = ["Point", "Speedup", *clocks, *scores, *sizes, "Scheme"]
    note = "Scores on validation and on test images; no choice was made on test."
    text = f'<p class="note">{_no_front(found)}</p>'
    if found.front:
        text = _table(found.front, contents, names, note)
    return Section(
        html=f"""<section aria-labelledby="front-title">
<h2 id="front-title">The front</h2>
{text}
</section>"""
    )


def _named(one: Objective) -> str:
    return objective(one.name).capitalize()


def _time_on(target: str) -> str:
    return safe(f"Time on {target}")


def _no_front(found: Rows) -> str:
    if found.trials:
        return "It is empty: no trial meets every constraint."
    return "It is empty: no trial has been scored yet."


def _table(listed: Sequence[Row], contents: Contents, names: Sequence[str], note: str) -> str:
    heads = "".join(
        f'<th scope="col" role="columnheader"{_kind(name)}>{name}</th>'
        for name in [*names, "Export"]
    )
    body = "\n".join(_line(row, contents, names) for row in listed)
    return f"""<p class="note">{note}</p>
<table class="front" role="table"><thead><tr role="row">{heads}</tr></thead>
<tbody>
{body}
</tbody></table>"""


def _kind(name: str) -> str:
    return "" if name in {"Point", "Scheme", "Export"} else ' class="number"'


def _line(row: Row, contents: Contents, names: Sequence[str]) -> str:
    point = row.point
    button = f'<button class="point">{safe(point.id)}</button>'
    values = {
        "Point": safe(point.id) if point.role == "refit" else button,
        "Validation": point.score.shown,
        "Against baseline": ""
        if row.drop is None
        else formatting.against_baseline(row.drop, point.score.metric)[1],
        "Test": "not scored" if row.test is None else row.test.score.shown,
        **{_named(o): value(o, point) for o in OBJECTIVES.values()},
        "Scheme": safe(row.style.label),
        **{_time_on(one.target.name): _speed(one) for one in row.times},
    }
    cells = "".join(
        f'<td role="cell" data-name="{name}"{_kind(name)}>{values.get(name, "not timed")}</td>'
        for name in names
    )
    return (
        f'<tr role="row" data-point="{safe(point.id)}">{cells}<td role="cell" class="wide" '
        f'data-name="Export">{_command(row, contents)}</td></tr>'
    )


def _command(row: Row, contents: Contents) -> str:
    name = row.point.id
    if name not in contents.kept:
        return "weights were not kept"
    command = f"<code>{safe(formatting.export(row, contents.location))}</code>"
    copy = f'<button class="copy" aria-label="Copy the command for {safe(name)}">Copy</button>'
    return f'<div class="command">{command}{copy}</div>'


def _speed(found: Latency) -> str:
    if not found.slower:
        return TIMES(found.speedup)
    return f'{TIMES(found.speedup)}<br><span class="slower">slower</span>'


def refits(found: Rows, contents: Contents) -> Section | None:
    """Points that were trained again by the full recipe."""
    if not found.refits:
        return None
    names = ["Point", "Speedup", "Test", "Parameters", "Scheme"]
    note = "Trained on the validation images as well, so only the test score counts."
    return Section(
        html=f"""<section aria-labelledby="refits-title">
<h2 id="refits-title">Retrained on train and validation</h2>
{_table(found.refits, contents, names, note)}
</section>"""
    )


def published(contents: Contents) -> Section | None:
    """Published results for the same network and data, each row with its source."""
    if not contents.published:
        return None
    body = "\n".join(
        f"<tr><td>{safe(row.method)}</td>"
        f'<td class="number">{TIMES(row.speedup)}</td>'
        f'<td class="number">{100 * row.accuracy:.2f} %</td>'
        f'<td class="number">{"" if row.baseline is None else f"{100 * row.baseline:.2f} %"}</td>'
        f"<td>{safe(row.afterwards)}</td><td>{safe(row.source)}</td></tr>"
        for row in contents.published
    )
    heads = ["Method", "Speedup", "Test", "Uncompressed", "Trained afterwards", "Source"]
    numbers = {"Speedup", "Test", "Uncompressed"}
    titles = "".join(
        f'<th scope="col"{" class=number" if name in numbers else ""}>{name}</th>' for name in heads
    )
    return Section(
        html=f"""<section aria-labelledby="published-title">
<h2 id="published-title">What papers report</h2>
<p class="note">Reported on test images for the same network and data; not measured here. Baselines,
lengths of training and counting rules differ between sources.</p>
<div class="scrolled" tabindex="0"><table><thead><tr>{titles}</tr></thead><tbody>
{body}
</tbody></table></div>
</section>"""
    )


def endings(contents: Contents) -> Section | None:
    """Trials that diverged, failed or were stopped, by reason."""
    found = history.ends(contents.results, contents.numbers).reasons
    if not found:
        return None
    lines = [(reason.ending, reason.text, reason.trials) for reason in found]
    return _reasons("endings", "Trials without a point", "How", lines)


def left_out(contents: Contents) -> Section | None:
    """Further cuts that gave no point, by reason."""
    trials: dict[tuple[str, str], list[str]] = {}
    for name, result in contents.results.items():
        for cut, reason in (result.refused if result else {}).items():
            trials.setdefault((cut, reason), []).append(name)
    if not trials:
        return None
    lines = [(cut, reason, names) for (cut, reason), names in trials.items()]
    return _reasons("left-out", "Further cuts that were left out", "Cut", lines)


def _reasons(
    name: str, title: str, head: str, lines: Iterable[tuple[str, str, Sequence[str]]]
) -> Section:
    """Trials or cuts without a point: a word for them, the reason, the names."""
    body = "\n".join(
        f'<tr><td>{safe(what)}</td><td class="reason">{safe(reason)}</td>'
        f"<td>{safe(formatting.some(trials))}</td></tr>"
        for what, reason, trials in lines
    )
    return Section(
        html=f"""<section aria-labelledby="{name}-title">
<h2 id="{name}-title">{title}</h2>
<table><thead><tr><th scope="col">{head}</th><th scope="col">Reason</th>
<th scope="col">Trials</th></tr></thead><tbody>
{body}
</tbody></table>
</section>"""
    )
