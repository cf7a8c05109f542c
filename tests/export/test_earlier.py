"""Bundles that version 0.1.0 wrote, with what it said of them in `outputs.json`."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from trp_search.errors import InputError
from trp_search.export.bundle import read_architecture, read_card
from trp_search.export.compare import compare, target_of
from trp_search.export.evaluate import evaluate_bundle
from trp_search.export.load import load
from trp_search.export.opened import opened
from trp_search.records.scores import share
from trp_search.space.settings import ENTRIES
from trp_search.workloads.residual import ResidualNetwork

BUNDLES = sorted((Path(__file__).parent / "bundles-0.1.0").iterdir())
every_bundle = pytest.mark.parametrize("bundle", BUNDLES, ids=lambda path: path.name)
IMAGES = torch.arange(4 * 64).reshape(4, 1, 8, 8).mul(7).remainder(17) / 16


def small(**_: object) -> ResidualNetwork:
    """The baseline of all but one, which is a built-in one."""
    return ResidualNetwork(channels=1, classes=10, blocks=1, widths=(8, 12, 16))


def own(bundle: Path) -> ResidualNetwork | None:
    return small() if ":" in read_architecture(bundle).network.name else None


def said(bundle: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((bundle / "outputs.json").read_text())
    return found


@every_bundle
def test_it_loads_and_answers_as_it_did(bundle: Path):
    network = load(bundle, network=own(bundle))
    with torch.no_grad():
        torch.testing.assert_close(network(IMAGES), torch.tensor(said(bundle)["logits"]))


@every_bundle
def test_it_is_scored_on_the_images_of_its_card_as_it_was(bundle: Path):
    found, then = evaluate_bundle(bundle, network=own(bundle), test=True), said(bundle)
    assert (found.macs, found.parameters) == (then["macs"], then["parameters"])
    assert found.validation.score == share(then["validation"], 60)
    assert found.test is not None
    assert found.test.score == share(then["test"], 100)


@every_bundle
def test_its_card_says_what_it_said(bundle: Path):
    card, then = read_card(bundle), said(bundle)
    old = json.loads((bundle / "card.json").read_text())
    assert card.point.score == share(then["validation"], 60)
    assert card.test is not None
    assert card.test.score == share(then["test"], 100)
    assert (card.baseline, card.run) == (old["baseline"], old["run"])
    assert card.point.cut is not None
    (kept,) = (
        {name: old["point"]["cut"][name]}
        for name in ("speedup", "error")
        if old["point"]["cut"][name] is not None
    )
    assert {card.point.cut.keep.key(): card.point.cut.keep.amount} == kept


def test_bytes_are_those_of_the_weights_and_the_baselines_follow_from_parameters():
    points = {path.name: read_card(path).point for path in BUNDLES}
    for path in BUNDLES:
        size = (path / "weights.safetensors").stat().st_size
        assert (points[path.name].bytes == size) == (path.name != "net-trim")
    stored = sum(value.nbytes for value in small().state_dict().values())
    names = points["net-trim"].dense_bytes - stored
    for name in ("tucker", "decomposable"):
        assert 0 < points[name].dense_bytes - stored < 3 * names


@pytest.mark.slow
def test_two_are_compared(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "own_network", SimpleNamespace(small=small))
    pair = [path for path in BUNDLES if path.name in ("decomposable", "tucker")]
    found = list(compare(pair, target_of(pair, {}), network="own_network:small", seconds=0.1))
    assert [one.card for one in found] == [read_card(path) for path in pair]


def test_what_only_says_that_it_is_a_card_of_then_is_refused(tmp_path: Path):
    bundle = tmp_path / "bundle"
    shutil.copytree(BUNDLES[0], bundle)
    for damage in ({"point": None}, {"point": {"cut": 3}}, {"test": []}, {}):
        old = json.loads((BUNDLES[0] / "card.json").read_text())
        (bundle / "card.json").write_text(json.dumps(old | damage if damage else {"format": 1}))
        with pytest.raises(InputError, match="not a card of version"):
            opened(bundle)


@every_bundle
def test_its_settings_have_the_names_of_today(bundle: Path):
    assert read_card(bundle).point.settings.keys() <= ENTRIES.keys() | {"seed"}
