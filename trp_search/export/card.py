"""The card of a bundle: what was measured and where it comes from, for programs and for people."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from trp_search.export.bundle import FORMAT, Card
from trp_search.records import Point, TrialSpec
from trp_search.store import RunFolder

_SOFTWARE = ("trp_search", "torch", "torchvision", "safetensors")


def make_card(run: RunFolder, point: Point, spec: TrialSpec) -> Card:
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


def as_markdown(card: Card) -> str:
    """The card for people."""
    point = card.point
    own = ", network=plain" if ":" in card.workload.network.name else ""
    factored = sum(layer.rank is not None for layer in point.layers)
    rows = [
        *_accuracies(card),
        ("multiply-adds per image", f"{point.macs:,} of {point.dense_macs:,}"),
        ("speedup (multiply-adds)", f"{point.speedup:.2f}x"),
        ("parameters", f"{point.parameters:,} of {point.dense_parameters:,}"),
        ("factored layers", f"{factored} of {len(point.layers)}, {point.scheme or 'none'}"),
        ("batch norm", point.batch_norm),
    ]
    settings = [(name, str(value)) for name, value in point.settings.items()]
    provenance = [("run", card.run), ("point", point.id), *card.versions.items()]
    return "\n".join(
        [
            f"# {card.workload.network.name} on {card.workload.data.name}, {point.speedup:.2f}x",
            "",
            "A low-rank network found by trp_search.",
            "",
            "    import trp_search",
            f'    network = trp_search.load("THIS FOLDER"{own})',
            *_table("Measured", rows),
            *_table("Settings", settings),
            *_table("Provenance", provenance),
            "",
        ]
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
