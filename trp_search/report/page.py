"""The report as one page that requests nothing: text as HTML, figures as data for plotly.js."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib.resources import files
from string import Template
from typing import Any

from trp_search.records import Point
from trp_search.records.objectives import Objective
from trp_search.report import (
    drawing,
    formatting,
    history,
    layers,
    rows,
    sections,
    tables,
    together,
)
from trp_search.report.contents import Contents
from trp_search.report.markup import Section, safe
from trp_search.report.rows import Row, Rows, Window
from trp_search.report.settings import varied
from trp_search.selection.axes import MACS, Axis, axes
from trp_search.selection.select import available

_SCRIPTS = ("state.js", "plots.js", "card.js", "page.js")  # in this order, as one


def render(contents: Contents, *, running: bool = False) -> str:
    """The whole page; that of a `running` search reloads itself."""
    found = rows.build(contents)
    parts = _sections(contents, found)
    own = files("trp_search.report")
    page, style, *scripts = (
        own.joinpath(name).read_text(encoding="utf-8")
        for name in ("page.html", "page.css", *_SCRIPTS)
    )
    script = "\n".join(scripts)
    library = drawing.library()
    return Template(page).substitute(
        policy=_policy(library, script),
        header=_unbroken(_header(contents, found)),
        name=safe(contents.name),
        sections=_unbroken("\n".join(part.html for part in parts)),
        data=_unbroken(_data(contents, found, parts, running=running)),
        style=style,
        library=library,
        script=script,
    )


def _unbroken(text: str) -> str:
    """Keeps a per cent sign on the line of its number, but in what a reader may copy."""
    return _PER_CENT.sub(lambda found: found["kept"] or "\N{NO-BREAK SPACE}%", text)


_COPIED = r'<(?P<tag>code|pre)\b.*?</(?P=tag)>|"command": "(?:[^"\\]|\\.)*"'
_PER_CENT = re.compile(rf"(?P<kept>{_COPIED})|(?<=\d) %", re.DOTALL)


def _sections(contents: Contents, found: Rows) -> list[Section]:
    """The page's sections in order; one with nothing to show is left out."""
    parts = [
        sections.tradeoff(contents, found, axes(contents.latencies, contents.points)),
        tables.front(found, contents),
        sections.course(contents, found),
        sections.rank_table(found),
        sections.what_settings_did(contents, found),
        tables.refits(found, contents),
        tables.published(contents),
        tables.endings(contents),
        tables.left_out(contents),
        _provenance(contents),
    ]
    return [part for part in parts if part is not None]


def _header(contents: Contents, found: Rows) -> str:
    """The run's name, its result in one sentence, and facts about it."""
    counts = history.ends(contents.results, contents.numbers)
    usual = ("finished", "diverged", "failed")
    ended = sum(counts.counts.values())
    trials = [f"{n} {kind}" for kind, n in counts.counts.items() if n or (ended and kind in usual)]
    if counts.unfinished:
        trials.append(f"{counts.unfinished} unfinished")
    facts = {"Network": contents.network, "Data": contents.data, "Date": _date(contents)}
    facts["Trials"] = ", ".join(trials)
    facts["Ranks"] = formatting.searched_ranks(contents.points)
    listed = [
        f"<div><dt>{name}</dt><dd>{safe(text)}</dd></div>" for name, text in facts.items() if text
    ]
    about = (formatting.on_the_clock, formatting.on_test, formatting.against_control)
    told = " ".join(said for tell in about if (said := tell(found)))
    asides = [told, *together.on_targets(found)]
    return "\n".join(
        [
            f"<h1>{safe(contents.name)}</h1>",
            f'<p class="lead">{safe(formatting.headline(found, counts))}</p>',
            *(f'<p class="aside">{safe(text)}</p>' for text in asides if text),
            f'<dl class="facts">{"".join(listed)}</dl>',
        ]
    )


def _date(contents: Contents) -> str:
    created = str(contents.environment.get("created", ""))
    try:
        moment = datetime.fromisoformat(created)
    except ValueError:
        return created
    return f"{moment.day} {moment:%B %Y, %H:%M}"


def _provenance(contents: Contents) -> Section:
    """The resolved search space and the environment, folded away."""
    environment = json.dumps(contents.environment, indent=2, ensure_ascii=False)
    blocks = {"Search space, as resolved": contents.search}
    if contents.environment:
        blocks["Versions, devices and seeds"] = environment
    text = "".join(
        f'<details><summary>{name}</summary><pre tabindex="0">{safe(block)}</pre></details>'
        for name, block in blocks.items()
    )
    return Section(
        html=f"""<section aria-labelledby="made-title">
<h2 id="made-title">How it was made</h2>
{text}
</section>"""
    )


def _policy(*scripts: str) -> str:
    """A content policy: these scripts run and no others, and nothing is requested from anywhere."""
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in hashes)
    styles = "style-src 'unsafe-inline'"  # plotly.js sets styles of its own
    return f"default-src 'none'; script-src {allowed}; {styles}; img-src data: blob:"


def _data(contents: Contents, found: Rows, parts: Sequence[Section], *, running: bool) -> str:
    """The data of the page's script, as JSON that no HTML parser takes for markup."""
    names = varied(found.trials)
    counted = axes(contents.latencies, contents.points)
    eligible = _eligible(found, contents)
    views = {"near": rows.window(found), "all": rows.everywhere(found)}
    plain = {
        "points": {
            row.point.id: _point(row, names, contents) | _sizes(row.point, counted)
            for row in found.comparable()
        },
        "axes": [_axis(axis, found, eligible) for axis in counted],
        "sign": found.metric.sign,
        "eligible": [row.point.id for row in eligible],
        "layers": layers.encoded(found),
        "running": running,
        "windows": {name: _axes(window, found.metric) for name, window in views.items() if window},
    }
    drawn = {name: figure for part in parts for name, figure in part.figures.items()}
    return _embedded(plain, drawn)


def _axis(axis: Axis, found: Rows, eligible: Sequence[Row]) -> dict[str, str | None]:
    """An axis, and the point that the page shows there before the reader chooses one."""
    by_macs = axis is MACS
    start = rows.leading(found) if by_macs else rows.foremost(eligible, axis) or found.baseline
    return {
        "key": axis.key,
        "name": axis.name,
        "title": axis.title,
        "start": start.point.id if start else None,
    }


def _eligible(found: Rows, contents: Contents) -> list[Row]:
    """What a budget chooses among, as `selection.select` does."""
    allowed = {
        row.point.id: row
        for row in found.comparable()
        if row.point.id in contents.contenders and not row.violations
    }
    points = [row.point for row in allowed.values()]
    return [allowed[point.id] for point in available(points, contents.kept)]


def _embedded(plain: Mapping[str, Any], drawn: Mapping[str, str]) -> str:
    drawings = ",".join(f"{json.dumps(name)}:{figure}" for name, figure in drawn.items())
    text = f'{json.dumps(plain, allow_nan=False)[:-1]}, "figures": {{{drawings}}}}}'
    return text.replace("<", "\\u003c")


def _axes(window: Window, metric: Objective) -> dict[str, Any]:
    return {"xaxis": window.speedup, "yaxis": drawing.upright(metric, window.metric)["range"]}


def _sizes(point: Point, counted: Sequence[Axis]) -> dict[str, Any]:
    """On each measured axis how many times smaller it is, with the ends; its time on each clock."""
    at = {axis.key: found for axis in counted if (found := axis.times(point)) is not None}
    times = {axis.key: axis.milliseconds(point) for axis in counted if axis.key in at}
    return {"at": at, "milliseconds": {key: ms for key, ms in times.items() if ms is not None}}


def _point(row: Row, names: Sequence[str], contents: Contents) -> dict[str, Any]:
    """The page's data of a point; settings that vary between trials come first."""
    rest = [name for name in row.point.told if name not in names]
    score, kept = row.point.score, row.point.id in contents.kept
    return {
        "y": score.drawn,
        "interval": [score.metric.show.drawn(end) for end in (score.low, score.high)],
        "title": formatting.title(row),
        "hover": drawing.hover(row, names),
        "facts": formatting.facts(row),
        "varied": formatting.settings(row, names),
        "fixed": formatting.settings(row, rest),
        "command": formatting.export(row, contents.location) if kept else "",
    }
