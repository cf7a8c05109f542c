"""The card of a bundle: metrics and provenance, for programs and for people."""

from __future__ import annotations

import dataclasses
import html
import platform
import re
from pathlib import Path

from trp_search.export.bundle import FORMAT, SOURCE, Card, Input
from trp_search.export.int8 import INT8_NAME, LOAD
from trp_search.records import Latency, Point, Score, TestScore, TrialSpec, Workload
from trp_search.records.objectives import Format, Objective
from trp_search.report.formatting import count, in_int8, sizes
from trp_search.report.times import SLOWER, milliseconds
from trp_search.runs.environment import installed
from trp_search.selection.axes import times_of
from trp_search.selection.snapshot import Snapshot
from trp_search.workloads.callables import is_callable_name
from trp_search.workloads.networks import PUBLISHERS

_SOFTWARE = (
    "trp_search",
    "torch",
    "torchvision",
    "timm",
    "safetensors",
    "onnx",
    "onnxruntime",
    "openvino",
    "nncf",
    "executorch",
)
_SHOWN = 20


def make_card(
    run: Snapshot, test: TestScore, spec: TrialSpec, *, licence: str | None, input: Input
) -> Card:
    """The card of the point that `test` scored, made by the trial that `spec` describes."""
    point, baseline = run.point(test.point), run.baseline
    return Card(
        format=FORMAT,
        run=run.folder.path.name,
        point=point,
        baseline=None if baseline is None else baseline.score.value,
        workload=_told(spec.workload),
        split_seed=spec.split_seed,
        saw_validation=spec.fit_on_validation,
        test=test,
        licence=licence,
        input=input,
        load=_load(spec.workload.network.name, point, source=False),
        latencies=times_of(point, run.latencies),
        threads=spec.threads,
        device=spec.device,
        versions={"python": platform.python_version()}
        | {name: found for name in _SOFTWARE if (found := installed(name))},
    )


def _told(workload: Workload) -> Workload:
    """The workload without the folders of its images and weights, which say nothing elsewhere."""
    given = workload.weights
    weights = given if given in (None, *PUBLISHERS) else Path(given).name
    images = dataclasses.replace(workload.data, root=None)
    return dataclasses.replace(workload, data=images, weights=weights)


def with_formats(
    card: Card, *, written: dict[str, float], refused: dict[str, str], file_bytes: dict[str, int]
) -> Card:
    """The card with further files: how far each is from the weights, or why it is absent."""
    return dataclasses.replace(
        card,
        formats=written,
        not_written=refused,
        file_bytes=file_bytes,
        load=_load(card.workload.network.name, card.point, source=SOURCE in written),
    )


def as_markdown(card: Card) -> str:
    """The card for people."""
    point = card.point
    made = "pruned" if point.widths else "low-rank"
    changed = sum(layer.rank is not None for layer in point.layers)
    measured = [
        *_scores(card),
        ("speedup (multiply-adds)", f"{point.speedup:.2f}x"),
        *(_latency(latency) for latency in card.latencies),
        *sizes(point),
        (f"{made} layers", f"{changed} of {len(point.layers)}, {point.scheme or 'none'}"),
        ("batch norm", point.batch_norm),
        *_int8(point),
    ]
    settings = [(name, str(value)) for name, value in point.told.items()]
    title = f"{card.workload.network.name} on {card.workload.data.name}, {point.speedup:.2f}x"
    title += ", int8" if point.int8 else ""
    provenance = [("run", card.run), ("point", point.id), *card.versions.items()]
    return "\n".join(
        [
            f"# {_text(title)}",
            "",
            f"A {made} network found by trp_search. Licence: "
            f"{_text(card.licence or 'none was stated')}.",
            "",
            *_how_to_load(card),
            *_table("Input and output", _shapes(card.input) if card.input else []),
            *_table("Measured", measured),
            *_table("Files", file_rows(card)),
            *_table("Settings", settings),
            *_table("Provenance", provenance),
            "",
        ]
    )


def _int8(point: Point) -> list[tuple[str, str]]:
    if point.int8 is None:
        return []
    return [
        *in_int8(point),
        ("quantised on", point.int8.machine),
        ("other files", "the network before, in float32: what trp_search and PyTorch load"),
    ]


def file_rows(card: Card) -> list[tuple[str, str]]:
    """Every file of the network with its size and the greatest difference of its logits."""
    rows = []
    for name in dict.fromkeys([*card.file_bytes, *card.formats]):
        said = []
        if name in card.file_bytes:
            said.append(f"{card.file_bytes[name]:,} bytes")
        if name in card.formats:
            most, int8 = card.formats[name], name.startswith(INT8_NAME)
            apart = f"int8: logits up to {most:.2g} from float32's"
            within = f"logits within {most:.1e}" if most else "the same logits"
            said.append(apart if int8 else within)
        rows.append((name, ", ".join(said)))
    return rows + [(name, f"not written: {reason}") for name, reason in card.not_written.items()]


def _load(network: str, point: Point, *, source: bool) -> dict[str, tuple[str, ...]]:
    own = ", network=baseline" if is_callable_name(network) else ""
    found: dict[str, tuple[str, ...]] = {}
    if point.int8 is not None:
        found[point.int8.runtime] = LOAD[point.int8.runtime]
    found["trp_search"] = ("import trp_search", f'network = trp_search.load("THIS FOLDER"{own})')
    if source:
        found["torch and safetensors"] = ("from network import load", "network = load()")
    return found


def _how_to_load(card: Card) -> list[str]:
    lines = []
    for needed, code in card.load.items():
        where = " alone, in this folder (runs `network.py`)" if "from network" in code[0] else ""
        lines += [f"With {needed}{where}:", "", *(f"    {line}" for line in code), ""]
    return lines[:-1]


def _shapes(taken: Input) -> list[tuple[str, str]]:
    names = ", ".join(taken.classes[:_SHOWN]) + (", ..." if len(taken.classes) > _SHOWN else "")
    size = f"(n, {taken.channels}, {taken.height}, {taken.width})"
    return [
        ("images", f"{size}, pixels from 0 to 1, normalised"),
        ("mean per channel", ", ".join(f"{value:.6g}" for value in taken.mean)),
        ("standard deviation per channel", ", ".join(f"{value:.6g}" for value in taken.std)),
        ("logits", f"(n, {len(taken.classes)})"),
        ("classes", names),
    ]


def _latency(latency: Latency) -> tuple[str, str]:
    target = latency.target
    threads = count(target.threads, "thread")
    where = f"{target.runtime}, {target.device}, {threads}, batch {target.batch}"
    return (
        f"speedup on the clock ({target.name})",
        f"{latency.speedup:.2f}x ({latency.low:.2f} to {latency.high:.2f}), "
        f"{f'{SLOWER}, ' if latency.slower else ''}"
        f"{milliseconds(latency.seconds)}: {where}, {latency.machine}",
    )


def _scores(card: Card) -> list[tuple[str, str]]:
    name, metric = card.point.score.name, card.point.score.metric
    if card.saw_validation:
        lines = [(f"validation {name}", "says nothing: these images were trained on")]
    else:
        lines = [(f"validation {name}", _scored(card.point.score))]
        if card.baseline is not None:
            lines.append(("baseline, validation", _finer(metric)(card.baseline)))
    return [*lines, (f"test {name}", _scored(card.test.score) if card.test else "not scored")]


def _scored(score: Score) -> str:
    show = _finer(score.metric)
    ends = show.span(score.low, score.high)
    return f"{show(score.value)} of {score.images:,} images, 95 % interval {ends}"


def _finer(metric: Objective) -> Format:
    """A card is read without the run: it has one digit more."""
    return dataclasses.replace(metric.show, digits=metric.show.digits + 1)


def _table(title: str, rows: list[tuple[str, str]]) -> list[str]:
    lines = [f"| {_text(name)} | {_text(value)} |" for name, value in rows]
    return ["", f"## {title}", "", "| | |", "|---|---|", *lines]


def _text(words: str) -> str:
    """Untrusted text as Markdown: one line, without effect."""
    shown = "".join(sign if sign.isprintable() else " " for sign in words)
    plain = html.escape(re.sub(r"([\\`*_{}\[\]|#~!$^])", r"\\\1", shown), quote=False)
    return re.sub(r"://|www\.", lambda found: _unlinked(found[0]), plain, flags=re.IGNORECASE)


def _unlinked(start: str) -> str:
    """Breaks the start of an address, which GitHub would turn into a link."""
    return start.replace(":", "&#58;").replace(".", "&#46;")
