"""Bundles side by side."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest

from trp_search.cli import main
from trp_search.errors import InputError
from trp_search.export import compare as side_by_side
from trp_search.export.bundle import read_architecture, read_card, write_json
from trp_search.export.compare import compare, target_of
from trp_search.export.write import export_point
from trp_search.store import RunFolder

pytestmark = pytest.mark.usefixtures("verified_here")


@pytest.fixture(scope="module")
def plain(trained_run: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run's baseline as a bundle."""
    return export_point(trained_run, "baseline", tmp_path_factory.mktemp("plain") / "plain")


@pytest.mark.slow
def test_each_bundle_is_timed_in_turn_with_the_first(plain: Path, bundle: Path):
    target = target_of([plain, bundle], {"threads": 2})
    assert (target.height, target.width, target.threads) == (8, 8, 2)
    first, second = compare([plain, bundle], target, network=None, seconds=0.2)
    for one in (first, second):
        assert one.timing.rounds > 1
        assert one.timing.low <= one.timing.speedup <= one.timing.high
    assert second.card == read_card(bundle)
    assert second.file_bytes == (bundle / "weights.safetensors").stat().st_size
    assert second.file_bytes < first.file_bytes


@pytest.mark.slow
def test_batch_norm_is_folded_in_all_bundles_or_in_none(
    plain: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
):
    served: list[bool] = []
    own = side_by_side.serve

    def serve(network, target, *, channels, fold=True):
        served.append(fold)
        call, batch_norm = own(network, target, channels=channels, fold=fold)
        return call, "not folded: TraceError" if len(served) == 2 else batch_norm

    monkeypatch.setattr(side_by_side, "serve", serve)
    found = list(
        compare([plain, bundle], target_of([plain, bundle], {}), network=None, seconds=0.0)
    )
    assert served == [True, True, False, False]
    assert [one.batch_norm for one in found] == ["not folded", "not folded"]


@pytest.mark.slow
def test_a_network_of_ones_own_is_compared_by_its_callable(
    own_run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    one = str(export_point(own_run, "0", tmp_path / "one"))
    words = ["compare", one, one, "--seconds", "0.05"]
    assert main(words) == 2
    assert "pass it as network=" in capsys.readouterr().err
    assert main([*words, "--network", "own_network:make"]) == 0
    assert "times as fast" in capsys.readouterr().out


@pytest.mark.slow
def test_the_table_has_a_column_for_each_bundle(
    plain: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["compare", str(plain), str(bundle), "--seconds", "0.05"]) == 0
    lines = {line[:14].strip(): line[14:].split() for line in capsys.readouterr().out.splitlines()}
    card = read_card(bundle)
    assert lines[""] == [str(plain), str(bundle)]
    score = card.point.score
    assert lines["validation"][-4:] == [f"{100 * score.value:.1f}", "%", "of", f"{score.images}"]
    assert "warning" not in lines
    assert lines["weights, bytes"][1] == f"{(bundle / 'weights.safetensors').stat().st_size:,}"


@pytest.mark.slow
@pytest.mark.parametrize(
    "change", ["another division", "weights of others", "other images", "a folder"]
)
def test_scores_of_other_images_are_told(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: str
):
    other = Path(shutil.copytree(bundle, tmp_path / "other"))
    card = read_card(other)
    data = dataclasses.replace(card.workload.data, subset=500)
    changed = {
        "another division": {"split_seed": card.split_seed + 1},
        "weights of others": {"workload": dataclasses.replace(card.workload, weights="w.pt")},
        "other images": {"workload": dataclasses.replace(card.workload, data=data)},
    }
    if change == "a folder":  # of either run
        data = dataclasses.replace(card.workload.data, name="images")
        card = dataclasses.replace(card, workload=dataclasses.replace(card.workload, data=data))
        bundle = Path(shutil.copytree(bundle, tmp_path / "one"))
        write_json(bundle / "card.json", card)
        changed[change] = {"run": "another"}
    write_json(other / "card.json", dataclasses.replace(card, **changed[change]))
    assert main(["compare", str(bundle), str(other), "--seconds", "0.05"]) == 0
    told = capsys.readouterr().out.splitlines()[-1]
    assert told == "warning: validation and test may not be of the same images for all of them"


def test_bundles_of_other_images_cannot_be_compared(bundle: Path, tmp_path: Path):
    other = Path(shutil.copytree(bundle, tmp_path / "other"))
    changed = dataclasses.replace(read_architecture(other), height=9)
    write_json(other / "architecture.json", changed)
    with pytest.raises(InputError, match=r"takes images of 1 x 9 x 8; .* of 1 x 8 x 8"):
        target_of([bundle, other], {})


def test_images_so_large_that_they_fill_memory_are_the_caller_s_to_ask_for(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    other = Path(shutil.copytree(bundle, tmp_path / "other"))
    large = dataclasses.replace(read_architecture(other), height=10**6, width=10**6)
    write_json(other / "architecture.json", large)
    assert main(["compare", str(other)]) == 2
    assert "by --image-size N" in capsys.readouterr().err
    given = {"height": 8, "width": 8}
    assert target_of([other], given).height == 8


def test_a_target_that_cannot_be_is_one_line(bundle: Path):
    with pytest.raises(InputError, match="target: runtime: 'jax': input should be 'eager'"):
        target_of([bundle], {"runtime": "jax"})


def test_a_folder_that_is_no_bundle_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["compare", str(tmp_path)]) == 2
    assert "architecture.json: missing; a bundle holds" in capsys.readouterr().err
