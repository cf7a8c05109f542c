"""The card of a bundle: what was measured and where it comes from, for programs and for people."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from trp_search.export.bundle import FORMAT, SOURCE, Architecture, Card
from trp_search.records import Latency, Point, TrialSpec
from trp_search.report.words import count, milliseconds
from trp_search.store import RunFolder

_SOFTWARE = ("trp_search", "torch", "torchvision", "safetensors")


def make_card(run: RunFolder, point: Point, spec: TrialSpec, *, licence: str | None) -> Card:
    """The card of one point of a run, made by the trial that `spec` describes."""
    plain = next((p for p in run.read_points() if p.role == "baseline"), None)
    return Card(
        format=FORMAT,
        run=run.path.name,
        point=point,
        baseline=None if plain is None else plain.accuracy,
        workload=spec.workload,
        split_seed=spec.split_seed,
        saw_validation=spec.fit_on_validation,
        test=run.read_tests().get(point.id),
        licence=licence,
        latencies=tuple(
            known[point.id] for known in run.read_latencies().values() if point.id in known
        ),
        threads=spec.threads,
        device=spec.device,
        versions={"python": platform.python_version()}
        | {name: found for name in _SOFTWARE if (found := _version(name))},
    )


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def as_markdown(card: Card, architecture: Architecture) -> str:
    """The card for people."""
    point = card.point
    factored = sum(layer.rank is not None for layer in point.layers)
    measured = [
        *_accuracies(card),
        ("multiply-adds per image", f"{point.macs:,} of {point.dense_macs:,}"),
        ("speedup (multiply-adds)", f"{point.speedup:.2f}x"),
        *(_latency(latency) for latency in card.latencies),
        ("parameters", f"{point.parameters:,} of {point.dense_parameters:,}"),
        ("factored layers", f"{factored} of {len(point.layers)}, {point.scheme or 'none'}"),
        ("batch norm", point.batch_norm),
    ]
    settings = [(k, str(value)) for k, value in point.settings.items() if value is not None]
    provenance = [("run", card.run), ("point", point.id), *card.versions.items()]
    return "\n".join(
        [
            f"# {card.workload.network.name} on {card.workload.data.name}, {point.speedup:.2f}x",
            "",
            "A low-rank network found by trp_search. Licence: "
            f"{card.licence or 'none was stated'}.",
            "",
            *_how_to_load(card),
            *_table("Input and output", _shapes(architecture)),
            *_table("Measured", measured),
            *_table("Files", file_rows(card)),
            *_table("Settings", settings),
            *_table("Provenance", provenance),
            "",
        ]
    )


def file_rows(card: Card) -> list[tuple[str, str]]:
    """Every file of the network with its size and how far its answers are from the weights' own."""
    rows = []
    for name in dict.fromkeys([*card.file_bytes, *card.formats]):
        said = []
        if name in card.file_bytes:
            said.append(f"{card.file_bytes[name]:,} bytes")
        if name in card.formats:
            most = card.formats[name]
            said.append(f"logits within {most:.1e}" if most else "the same logits")
        rows.append((name, ", ".join(said)))
    return rows + [(name, f"not written: {reason}") for name, reason in card.not_written.items()]


def _how_to_load(card: Card) -> list[str]:
    own = ", network=plain" if ":" in card.workload.network.name else ""
    lines = [
        "With trp_search:",
        "",
        "    import trp_search",
        f'    network = trp_search.load("THIS FOLDER"{own})',
    ]
    if SOURCE in card.formats:
        lines += [
            "",
            "With PyTorch and safetensors alone, in this folder (runs the code in `network.py`):",
            "",
            "    from network import load",
            "    network = load()",
        ]
    return lines


def _shapes(architecture: Architecture) -> list[tuple[str, str]]:
    channels, height, width = architecture.channels, architecture.height, architecture.width
    return [
        ("images", f"(n, {channels}, {height}, {width}), pixels in [0, 1], normalised"),
        ("mean per channel", ", ".join(f"{value:.6g}" for value in architecture.mean)),
        ("standard deviation per channel", ", ".join(f"{value:.6g}" for value in architecture.std)),
        ("logits", f"(n, {architecture.classes})"),
    ]


def _latency(latency: Latency) -> tuple[str, str]:
    target = latency.target
    threads = count(target.threads, "thread")
    where = f"{target.runtime}, {target.device}, {threads}, batch {target.batch}"
    return (
        f"speedup on the clock ({target.name})",
        f"{latency.speedup:.2f}x ({latency.low:.2f} to {latency.high:.2f}), "
        f"{milliseconds(latency.seconds)}: {where}, {latency.machine}",
    )


def _accuracies(card: Card) -> list[tuple[str, str]]:
    point, test = card.point, card.test
    if card.saw_validation:
        lines = [("validation accuracy", "says nothing: these images were trained on")]
    else:
        lines = [("validation accuracy", f"{point.accuracy:.2%} of {point.images:,} images")]
        if card.baseline is not None:
            lines.append(("plain network, validation", f"{card.baseline:.2%}"))
    found = f"{test.accuracy:.2%} of {test.images:,} images" if test else "not scored"
    return [*lines, ("test accuracy", found)]


def _table(title: str, rows: list[tuple[str, str]]) -> list[str]:
    lines = [f"| {name} | {value} |" for name, value in rows]
    return ["", f"## {title}", "", "| | |", "|---|---|", *lines]
