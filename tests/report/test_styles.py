"""What a report calls a point, and that it can draw every such name."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Callable
from typing import get_args

import pytest
from plotly.validator_cache import ValidatorCache

from trp_search.records import CutScheme, MethodName, Point
from trp_search.report import write
from trp_search.report.styles import style_of
from trp_search.store import RunFolder

SETTINGS = [None, "future", *get_args(MethodName)]


@pytest.mark.parametrize("scheme", [None, "channel", "spatial"])
def test_a_point_in_int8_is_called_and_drawn_so_in_its_float_network_s_colour(
    make_point: Callable[..., Point], in_int8: Callable[..., Point], scheme: CutScheme | None
):
    point = make_point("1", correct=190, speedup=2.0, scheme=scheme)
    own, here, there = (
        style_of(one) for one in (point, in_int8(point), in_int8(point, runtime="openvino"))
    )
    assert (here.label, there.label) == (f"{own.label}, int8", f"{own.label}, int8, openvino")
    assert own.symbol != here.symbol == there.symbol
    assert own.colour == here.colour


@pytest.mark.parametrize(
    ("settings", "scheme", "name"),
    [
        ({}, None, "uncut"),
        ({}, "channel", "channel"),
        ({"method": "trp"}, "per-layer", "TRP, per-layer"),
        (
            {"method": "trp", "nuclear_weight": 1e-3, "period": 5},
            "spatial",
            "TRP + nuclear, spatial",
        ),
        (
            {"method": "plain", "reconstruct": "linear"},
            "channel",
            "plain, channel, fitted (linear)",
        ),
        ({"method": "plain", "reconstruct": "relu"}, "channel", "plain, channel, fitted"),
        ({"method": "plain", "fine_tuning_epochs": 2}, "spatial", "plain, spatial, fine-tuned"),
        ({"method": "plain", "fine_tuning_epochs": 0}, "spatial", "plain, spatial"),
        ({"method": "tucker"}, "tucker", "Tucker-2"),
        ({"method": "ddlr-style"}, "ddlr-style", "DDLR-style"),
        ({"method": "trp"}, "tucker", "TRP, Tucker-2"),
        ({"method": "decomposable"}, "channel", "Decomposable-Net, channel"),
    ],
)
def test_a_point_is_called_what_it_is(
    make_point: Callable[..., Point], settings: dict, scheme: str | None, name: str
):
    point = make_point("1", correct=180, speedup=2.0)
    point = dataclasses.replace(point, settings=settings, scheme=scheme)
    assert style_of(point).label == name


@pytest.mark.parametrize("tuned", [0, 3])
def test_every_way_has_a_colour_and_a_symbol_that_plotly_knows(
    make_point: Callable[..., Point], tuned: int
):
    known = ValidatorCache.get_validator("scatter.marker", "symbol").values
    labels = set()
    for method, scheme in itertools.product(SETTINGS, [None, *get_args(CutScheme)]):
        settings = {"method": method, "fine_tuning_epochs": tuned, "reconstruct": "linear"}
        settings |= {"nuclear_weight": 1e-3}
        point = dataclasses.replace(
            make_point("1", correct=180, speedup=2.0), settings=settings, scheme=scheme
        )
        style = style_of(point)
        assert style.colour.startswith("#")
        assert {style.mark(hollow=hollow) for hollow in (False, True)} <= set(known)
        assert ("-dot" in style.symbol) == bool(tuned)
        labels.add(style.label)
    assert len(labels) > len(SETTINGS)


def test_a_run_with_a_method_from_elsewhere_has_its_page(sample_run: RunFolder):
    lines = [json.loads(line) for line in sample_run.points.read_text().splitlines()]
    for line in lines:
        if line["role"] == "trial":
            line["settings"] |= {"method": "future, perhaps", "fine_tuning_epochs": 2}
    sample_run.points.write_text("".join(json.dumps(line) + "\n" for line in lines))
    write(sample_run)
    assert "future, perhaps, channel, fine-tuned" in sample_run.report.read_text()
