"""Further formats: proven on real images, or not there."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from trp_search.cli import main
from trp_search.errors import InputError, TrpSearchError
from trp_search.export.bundle import read_card
from trp_search.export.formats import (
    FORMATS,
    SOURCE,
    Format,
    agreement,
    check_formats,
    write_format,
)
from trp_search.export.write import export_point
from trp_search.store import RunFolder
from trp_search.tasks import TASKS

TASK = TASKS["classification"]

INSTALLED = [name for name in FORMATS if name != "executorch" or find_spec("executorch")]

pytestmark = pytest.mark.usefixtures("verified_here")


def test_equal_logits_agree():
    logits = torch.randn(5, 10)
    assert agreement(logits, logits.clone(), TASK) == 0.0


def test_rounding_agrees_and_its_greatest_difference_is_told():
    logits = torch.tensor([[1.0, 2.0], [4.0, 3.0]])
    found = logits + torch.tensor([[0.0, 1e-5], [-2e-5, 0.0]])
    assert agreement(logits, found, TASK) == pytest.approx(2e-5, rel=0.05)


@pytest.mark.parametrize("wrong", [1e-3, float("nan")])
def test_a_logit_that_is_off_does_not_agree(wrong: float):
    logits = torch.tensor([[1.0, 2.0], [4.0, 3.0]])
    found = logits.clone()
    found[1, 1] += wrong
    with pytest.raises(
        TrpSearchError, match=r"an output differs by (0\.001|nan), more than 0\.0005"
    ):
        agreement(logits, found, TASK)


def test_a_class_may_change_only_within_the_difference():
    expected = torch.tensor([[2.00001, 2.0]])
    assert agreement(expected, torch.tensor([[2.0, 2.00001]]), TASK) < 1e-4
    with pytest.raises(TrpSearchError, match="classified otherwise by a clear margin"):
        agreement(torch.tensor([[2.0001, 2.0]]), torch.tensor([[2.00004, 2.00006]]), TASK)


def test_another_number_of_classes_does_not_agree():
    with pytest.raises(TrpSearchError, match=r"returns \(2, 3\), not \(2, 4\)"):
        agreement(torch.zeros(2, 4), torch.zeros(2, 3), TASK)


def test_an_unknown_format_is_refused_with_those_there_are():
    with pytest.raises(
        InputError, match="format: 'tflite' is none of onnx, openvino, executorch, pt2"
    ):
        check_formats(["pt2", "tflite"])


class Branching(nn.Module):
    """What it does depends on the images, which no exporter follows."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)

    def forward(self, images: Tensor) -> Tensor:
        found = self.conv(images) if images.sum() > 0 else self.conv(-images)
        return found.mean((2, 3))


@pytest.mark.slow
@pytest.mark.parametrize("form", [*map(FORMATS.get, INSTALLED), SOURCE], ids=lambda form: form.file)
def test_a_format_that_cannot_be_written_leaves_nothing(form: Format, tmp_path: Path):
    with pytest.raises(TrpSearchError, match=rf"^{form.file}: [^\n]+$"):
        write_format(tmp_path, Branching().eval(), torch.rand(4, 1, 8, 8), form, TASK)
    assert list(tmp_path.iterdir()) == []


def test_a_format_that_answers_otherwise_leaves_nothing(tmp_path: Path):
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).eval()
    liar = Format(
        file="network.txt",
        write=lambda _network, _images, path: path.write_text("x") and None,
        run=lambda _path, images: network(images).detach() + 1,
    )
    with pytest.raises(TrpSearchError, match=r"network\.txt: an output differs by 1"):
        write_format(tmp_path, network, torch.rand(4, 1, 8, 8), liar, TASK)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_format_is_tried_where_this_package_is_not_installed(tmp_path: Path):
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).eval()

    def write(_network: nn.Module, _images: Tensor, path: Path) -> None:
        path.write_text("import trp_search\n")

    leaning = Format(file="network.py", write=write, run=SOURCE.run)
    with pytest.raises(TrpSearchError, match=r"network\.py: .*ModuleNotFoundError.*trp_search"):
        write_format(tmp_path, network, torch.rand(4, 1, 8, 8), leaning, TASK)


@pytest.mark.slow
@pytest.mark.parametrize("name", INSTALLED)
def test_a_format_holds_no_images_that_prove_it_and_no_paths_of_this_machine(
    name: str, tmp_path: Path
):
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(144, 3)).eval()
    images = torch.rand(40, 1, 8, 8, generator=torch.Generator().manual_seed(5))
    write_format(tmp_path, network, images, FORMATS[name], TASK)
    written = b"".join(path.read_bytes() for path in FORMATS[name].files_in(tmp_path))
    assert len(written) > 0
    assert not any(image.numpy().tobytes() in written for image in images)
    assert not any(
        where in written for where in (b"site-packages", b", in forward", bytes(Path.cwd()))
    )


@pytest.mark.slow
def test_source_loads_with_torch_and_safetensors_alone(tmp_path: Path):
    network = nn.Sequential(
        *(nn.Conv2d(1, 8, (3, 1), bias=False), nn.Conv2d(8, 8, (1, 3)), nn.BatchNorm2d(8)),
        *(nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)),
    ).eval()
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    assert write_format(tmp_path, network, torch.rand(4, 1, 8, 8), SOURCE, TASK) == 0.0
    source = (tmp_path / SOURCE.file).read_text()
    assert "_add(self, '0', nn.Conv2d(1, 8, (3, 1), bias=False))" in source
    assert "trp_search" not in source


@pytest.mark.slow
def test_every_format_goes_into_the_bundle_and_its_card(own_run: RunFolder, tmp_path: Path):
    out = export_point(own_run, "0", tmp_path / "own", formats=INSTALLED, licence="MIT")
    files = {FORMATS[name].file for name in INSTALLED} | {"network.py"}
    assert files | {"network.bin"} < {path.name for path in out.iterdir()}
    card = read_card(out)
    assert set(card.formats) == files
    assert max(card.formats.values()) < 1e-4
    assert card.not_written == {}
    others = files - {"network.py"} | {"weights.safetensors", "network.bin"}
    assert card.file_bytes == {name: (out / name).stat().st_size for name in others}
    readable = (out / "card.md").read_text()
    assert "Licence: MIT." in readable
    assert "from network import load" in readable
    assert "| images | (n, 1, 8, 8), pixels from 0 to 1, normalised |" in readable
    assert card.load["torch and safetensors"] == ("from network import load", "network = load()")
    assert {"onnxruntime", "openvino"} <= card.versions.keys()


@pytest.mark.slow
def test_a_format_that_fails_is_missing_with_its_reason_and_exit_code_one(
    own_run: RunFolder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    broken = Format(file="network.pt2", write=FORMATS["pt2"].write, run=lambda _path, x: x)
    monkeypatch.setitem(FORMATS, "pt2", broken)
    out = tmp_path / "own"
    words = ["export", str(own_run.path), "--point", "0", "--out", str(out), "--format", "pt2"]
    assert main(words) == 1
    said = capsys.readouterr()
    assert said.err == "trp-search: the bundle was written without network.pt2\n"
    assert "not written: network.pt2: returns" in said.out
    assert not (out / "network.pt2").exists()
    assert (out / "weights.safetensors").exists()
