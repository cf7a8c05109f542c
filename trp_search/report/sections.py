"""The page's sections around figures: each is HTML with places for its figures."""

from __future__ import annotations

from collections.abc import Sequence

from trp_search.report import details, figures, formatting, history, parallel, ranks, rows, settings
from trp_search.report.contents import Contents
from trp_search.report.markup import Section, safe
from trp_search.report.rows import Rows
from trp_search.report.times import objective
from trp_search.selection.axes import Axis


def _place(name: str, label: str, *, look: str = "", style: str = "", role: str = "img") -> str:
    """The place of a figure; an `application` takes the focus and the arrow keys."""
    attributes = f'class="drawing {look}" id="{name}" role="{role}" aria-label="{safe(label)}"'
    attributes += ' tabindex="0"' if role == "application" else ""
    return f'<div {attributes} style="{style}"></div>'


def tradeoff(contents: Contents, found: Rows, counted: Sequence[Axis]) -> Section | None:
    """The main figure, with the choice of a point beside it."""
    window = rows.window(found)
    if window is None:
        return None
    images, name = found.comparable()[0].point.score.images, found.metric.name
    notes = [
        "Every mark is a network. Large marks are the front: the networks that no other dominates "
        f"in the objectives or, along another axis, in {name} and that axis. Whiskers are 95 % "
        f"intervals: of {name}, by the number of images; of a measured time, whose lower end "
        "must meet a budget. A hollow mark is not significantly better than a faster network. "
        "Select a mark with the pointer or the arrow keys, or set a budget, to see its details.",
        f"Validation has {formatting.count(images, 'image')}.",
    ]
    more = ""
    if window.outside:
        lie = "lies" if window.outside == 1 else "lie"
        notes.append(f"{formatting.count(window.outside, 'point')} {lie} below this view.")
        more = ' <button class="everything" aria-pressed="false">Show every point</button>'
    if contents.published:
        more += ' <button class="published" aria-pressed="false">Show published results</button>'
    trials = formatting.count(len(found.trials), "trial point")
    if not found.trials:
        trials = formatting.count(len(found.controls), "cut")
    label = (
        f"Validation {name} against speedup: {trials}, {len(found.front)} of them on the "
        "front. Arrow keys go from point to point, Home and End to the largest and the smallest "
        "network."
    )
    text = f"""<section aria-labelledby="tradeoff-title">
<h2 id="tradeoff-title">{name.capitalize()} against speedup</h2>
<p class="note">{safe(" ".join(notes))}{more}</p>
<div class="tradeoff">
<figure>{_place("tradeoff", label, look="tall", role="application")}</figure>
{_choice(found, counted)}
<div id="layers" hidden>
<h3>The chosen network, layer by layer</h3>
<p class="note">A bar is a layer's multiply-adds before the cut; its filled part remains. A curve
shows the singular values that the cut used, of the weight or of the layer's outputs, on a
logarithmic scale over four decades; the shaded ones were kept.</p>
<ol class="layers"></ol>
</div>
</div>
</section>"""
    drawing = figures.tradeoff(found, window, contents.published)
    return Section(html=text, figures={"tradeoff": drawing})


def _choice(found: Rows, counted: Sequence[Axis]) -> str:
    best = rows.leading(found)
    ask = ""
    if best is not None:
        start = int(best.point.speedup * 10) / 10
        options = "".join(
            f'<option value="{safe(axis.key)}">{safe(axis.name)}</option>' for axis in counted
        )
        ask = (
            f'<label for="budget">The best at least</label> <input id="budget" '
            f'type="number" min="1" step="0.1" inputmode="decimal" value="{start:.1f}" '
            f'autocomplete="off"> times smaller in '
            f'<select id="axis" autocomplete="off" aria-label="What gets smaller">'
            f"{options}</select>"
            '<label id="clock" hidden>, at most <input id="milliseconds" type="number" min="0" '
            'step="any" inputmode="decimal" autocomplete="off"> ms</label>'
            f'<input id="slide" type="range" min="1" step="0.01" value="{start:.1f}" '
            f'aria-label="Budget" autocomplete="off">'
            f'<p class="note" id="answer" aria-live="polite"></p>'
        )
    return f"""<aside class="choice" aria-label="Chosen point">{ask}
<div id="chosen" aria-live="polite">
<h3>Select a mark</h3>
<dl class="measures main"></dl>
<h4 hidden>Settings</h4>
<dl class="measures varied"></dl>
<details hidden><summary>Other settings</summary>
<dl class="measures fixed"></dl></details>
<div class="command" hidden><code></code><button class="copy">Copy</button></div>
<button class="compare" hidden>Compare with another</button>
</div></aside>"""


def course(contents: Contents, found: Rows) -> Section | None:
    """Hypervolume and training curves, side by side."""
    shown: dict[str, str] = {}
    text = ""
    trials = contents.results, contents.numbers
    steps = history.volumes(found, contents.objectives, *trials)
    if steps:
        shown["volume"] = figures.volume(steps)
        note = (
            f"Hypervolume of the front, from a corner {_corner(contents, found)}. "
            "It levels off once further trials find nothing better."
        )
        label = (
            f"Hypervolume of the front over {formatting.count(steps[-1].finished, 'scored trial')}."
        )
        switch = '<button class="hours" aria-pressed="false">By hours of training</button>'
        text += _half("What the search gained", note, f"{_place('volume', label)}{switch}")
    lines = history.curves(found, contents.epochs, *trials)
    if lines:
        shown["training"] = figures.training(lines, found.metric)
        note = (
            f"Validation {found.metric.name} after each epoch, before the cut. Bold lines are "
            "trials on the front; the dotted line is the baseline. Early and far worse values are "
            "out of view."
        )
        if any(line.is_stopped for line in lines):
            note += " A cross is the last epoch of a trial that was stopped."
        trainings = formatting.count(len(lines), "training")
        label = f"Validation {found.metric.name} by epoch of {trainings}."
        text += _half("How trials trained", note, _place("training", label))
    return Section(html=f'<section class="pair">{text}</section>', figures=shown) if text else None


def _corner(contents: Contents, found: Rows) -> str:
    """Where the hypervolume begins: `at the baseline's speedup and 10.0 points below ...`."""
    metric = found.metric
    others = " and ".join(objective(o.name) for o in contents.objectives if o != metric)
    parts = [f"at the baseline's {others}"] if others else []
    if metric in contents.objectives:
        side = "below" if metric.maximise else "above"
        parts.append(f"{metric.show.difference(metric.slack)} {side} the baseline's {metric.name}")
    return " and ".join(parts)


def _half(title: str, note: str, place: str) -> str:
    return f'<figure><h2>{title}</h2><p class="note">{note}</p>{place}</figure>'


def rank_table(found: Rows) -> Section | None:
    """Ranks per layer of each front point or, without a front, of the baseline's cuts."""
    table = ranks.table(found.front or found.controls)
    if table is None:
        return None
    what = "front point" if found.front else "cut of the baseline"
    height = f"height: {80 + 20 * len(table.layers)}px"
    label = f"Share of the full rank kept in {formatting.count(len(table.layers), 'layer')}: "
    label += f"{formatting.count(len(table.rows), 'column')}, one per {what}."
    text = f"""<section aria-labelledby="ranks-title">
<h2 id="ranks-title">Ranks, layer by layer</h2>
<p class="note">One column per {what}. Share of the full rank kept:
<span class="swatch few"></span> little, <span class="swatch full"></span> all;
<span class="swatch dense"></span> layers that stayed dense. Point at a layer for its scheme, the
energy that this and other schemes keep, or why it stayed dense.</p>
<figure>{_place("ranks", label, style=height)}</figure>
</section>"""
    return Section(html=text, figures={"ranks": details.rank_table(table)})


def what_settings_did(contents: Contents, found: Rows) -> Section | None:
    """Each setting that varied against the metric and speedup."""
    window = rows.window(found)
    panels = settings.panels(found.trials)
    if window is None or not panels:
        return None
    shown = {
        f"setting-{place}": details.setting(panel, window, found.metric)
        for place, panel in enumerate(panels)
    }
    scores = f"{found.metric.name.capitalize()} and speedup"
    places = "".join(
        f"<figure>{_place(name, f'{scores} against {_both(panel)}.', look='small')}</figure>"
        for name, panel in zip(shown, panels, strict=True)
    )
    lines = parallel.uprights(found.trials, contents.objectives)
    shown["parallel"] = details.parallel(lines, found.trials)
    label = f"Each trial as a line over {formatting.count(len(lines), 'upright')}."
    whole = f"<figure>{_place('parallel', label)}</figure>"
    note = (
        "Each line is a trial across its settings and scores, bold on the front. Below, each "
        "setting is plotted against both scores, with large marks on the front. Points below the "
        "first figure's view are plotted on the lower edge."
    )
    text = f"""<section aria-labelledby="settings-title">
<h2 id="settings-title">What the settings did</h2>
<p class="note">{note}</p>
{whole}
{_importance(contents)}
<div class="many">{places}</div>
</section>"""
    return Section(html=text, figures=shown)


def _importance(contents: Contents) -> str:
    """Bars of the share that each setting explains of each objective, if the search computed it."""
    known = contents.importance
    if known is None or not known.objectives:
        return ""
    objectives = known.objectives
    names = list(dict.fromkeys(name for shares in objectives.values() for name in shares))
    heads = "".join(f'<th scope="col">{safe(name)}</th>' for name in objectives)
    body = "\n".join(
        f'<tr><th scope="row">{safe(name)}</th>'
        + "".join(_bar(shares.get(name, 0.0)) for shares in objectives.values())
        + "</tr>"
        for name in names
    )
    trials = formatting.count(known.trials, "trial")
    note = f"Share of an objective's variance (fANOVA over {trials}; few trials say little)."
    if known.left_out:
        rest = safe(", ".join(known.left_out))
        note += f" Not compared, since only some trials have them: {rest}."
    return f"""<h3>How much each setting explains</h3>
<p class="note">{note}</p>
<table class="importance"><thead><tr><th scope="col">Setting</th>{heads}</tr></thead><tbody>
{body}
</tbody></table>"""


def _bar(share: float) -> str:
    width = f"{100 * share:.0f}%"
    return f'<td><span class="bar"><i style="width: {width}"></i></span>{100 * share:.0f} %</td>'


def _both(panel: settings.Panel) -> str:
    return " and ".join(panel.names)
