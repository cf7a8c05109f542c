"""Bundles of networks in int8."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import shutil
from pathlib import Path

import pytest
import torch
from onnx import TensorProto, helper

from trp_search.errors import InputError, TrpSearchError
from trp_search.export import alone, compare, int8
from trp_search.export.bundle import read_card
from trp_search.export.evaluate import evaluate_bundle
from trp_search.export.load import load
from trp_search.export.write import export_point
from trp_search.runs import networks
from trp_search.runtimes.serving import IN_FILE
from trp_search.store import RunFolder

FILE = "network-int8.onnx"


@pytest.fixture(scope="module")
def exported(int8_run: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_point(int8_run, "0-int8", tmp_path_factory.mktemp("bundles") / "int8")


@pytest.fixture
def own(exported: Path, tmp_path: Path) -> Path:
    """A copy that may be changed."""
    return shutil.copytree(exported, tmp_path / "own")


@pytest.mark.slow
def test_a_bundle_in_int8_holds_the_network_that_was_scored_and_its_float_weights(
    int8_run: RunFolder, exported: Path
):
    point = int8_run.point("0-int8")
    assert (exported / FILE).read_bytes() == int8_run.weights(point).read_bytes()
    images = torch.rand(4, 1, 8, 8)
    with torch.no_grad():
        expected = networks.network_of(int8_run, int8_run.point("0"))(images)
        assert torch.equal(load(exported)(images), expected)
    card = read_card(exported)
    assert card.point == point
    assert card.test == int8_run.read_tests()["0-int8"]
    assert card.file_bytes[FILE] == (exported / FILE).stat().st_size
    assert 0 < card.formats[FILE] < 1
    assert "InferenceSession" in "".join(card.load["onnxruntime"])
    readable = (exported / "card.md").read_text()
    assert "int8 for onnxruntime, calibrated on" in readable
    assert "from float32's" in readable


@pytest.mark.slow
def test_a_file_whose_answers_do_not_follow_the_batch_is_one_line(
    exported: Path, monkeypatch: pytest.MonkeyPatch
):
    one = dataclasses.replace(int8.INT8["onnxruntime"], run=lambda *_: torch.zeros(1, 10))
    monkeypatch.setitem(int8.INT8, "onnxruntime", one)
    with pytest.raises(InputError, match=r"network-int8\.onnx: gives 1 answers for \d+ images"):
        evaluate_bundle(exported)


@pytest.mark.slow
def test_a_bundle_in_int8_is_scored_in_its_runtime(int8_run: RunFolder, exported: Path):
    point = int8_run.point("0-int8")
    found = evaluate_bundle(exported, test=True)
    assert found.validation.score == point.score
    assert found.validation.loss == pytest.approx(point.loss)
    assert found.test is not None
    assert found.test.score == int8_run.read_tests()["0-int8"].score
    assert (found.macs, found.parameters) == (point.macs, point.parameters)


@pytest.mark.slow
def test_a_file_that_does_not_run_is_one_line(own: Path):
    (own / FILE).write_bytes((own / FILE).read_bytes()[:2000])
    with pytest.raises(InputError, match=rf"^[^\n]*{FILE}: it does not run in a fresh process: "):
        evaluate_bundle(own)
    (own / FILE).unlink()
    with pytest.raises(InputError, match=rf"^[^\n]*{FILE}: missing; "):
        evaluate_bundle(own)


@pytest.mark.slow
def test_a_link_out_of_the_bundle_is_not_followed(own: Path, tmp_path: Path):
    (own / FILE).rename(tmp_path / "elsewhere.onnx")
    (own / FILE).symlink_to(tmp_path / "elsewhere.onnx")
    with pytest.raises(InputError, match="a link to a file outside the bundle"):
        evaluate_bundle(own)


@pytest.mark.slow
def test_a_bundle_whose_runtime_is_missing_is_told(own: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"^[^\n]*onnxruntime: not installed; [^\n]+$"):
        evaluate_bundle(own)


@pytest.mark.slow
def test_compare_times_it_in_its_runtime_beside_float_bundles(bundle: Path, exported: Path):
    target = compare.target_of([bundle, exported], {"batch": 2})
    assert target.runtime == "onnxruntime"
    float32, int8 = compare.compare([bundle, exported], target, network=None, seconds=0.0)
    assert int8.file_bytes == (exported / FILE).stat().st_size
    assert [one.batch_norm == IN_FILE for one in (float32, int8)] == [False, True]
    assert int8.timing.low <= int8.timing.speedup <= int8.timing.high
    elsewhere = dataclasses.replace(target, runtime="eager")
    with pytest.raises(InputError, match="is int8 for onnxruntime on the CPU; target 'here' is ea"):
        list(compare.compare([exported], elsewhere, network=None, seconds=0.0))


@pytest.mark.slow
def test_a_bundle_in_int8_holds_no_paths_of_this_machine(exported: Path):
    written = b"".join(path.read_bytes() for path in exported.iterdir())
    assert not any(where in written for where in (b"site-packages", bytes(Path.cwd())))


@pytest.mark.slow
def test_bundles_in_int8_of_two_runtimes_cannot_be_compared(own: Path, tmp_path: Path):
    other = Path(shutil.copytree(own, tmp_path / "other"))
    card = json.loads((other / "card.json").read_text())
    card["point"]["int8"]["runtime"] = "openvino"
    (other / "card.json").write_text(json.dumps(card))
    why = f"no runtime runs all of them in int8: {own} for onnxruntime, {other} for openvino"
    with pytest.raises(InputError, match=why):
        compare.target_of([own, other], {})


@pytest.mark.slow
def test_compare_runs_a_stranger_s_file_alone_before_it_does_here(own: Path):
    (own / FILE).write_bytes((own / FILE).read_bytes()[:2000])
    target = compare.target_of([own], {})
    with pytest.raises(InputError, match=rf"^[^\n]*{FILE}: it does not run in a fresh process: "):
        list(compare.compare([own], target, network=None, seconds=0.0))


@pytest.mark.slow
def test_a_file_that_takes_memory_only_while_it_is_timed_has_no_more(
    own: Path, monkeypatch: pytest.MonkeyPatch
):
    """As one that draws whether to: 4 GB for each image."""
    nodes = [
        helper.make_node("Shape", ["images"], ["shape"], end=1),
        helper.make_node("Mul", ["shape", "large"], ["many"]),
        helper.make_node("ConstantOfShape", ["many"], ["ones"]),
        helper.make_node("ReduceSum", ["ones"], ["sum"]),
        helper.make_node("ReduceSum", ["images"], ["own"]),
        helper.make_node("Add", ["sum", "own"], ["logits"]),
    ]
    large = helper.make_tensor("large", TensorProto.INT64, [1], [2**30])
    given = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 1, 8, 8])
    found = helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "greedy", [given], [found], [large])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    (own / FILE).write_bytes(model.SerializeToString())
    monkeypatch.setattr(compare, "check_runs", lambda *_: None)
    with pytest.raises(InputError, match=r"wants more than [\d,]+ bytes for 1 images"):
        list(compare.compare([own], compare.target_of([own], {}), network=None, seconds=0.0))


@pytest.mark.slow
@pytest.mark.usefixtures("verified_here")
def test_a_point_whose_int8_scores_otherwise_is_not_exported(int8_run: RunFolder, tmp_path: Path):
    run = RunFolder.open(shutil.copytree(int8_run.path, tmp_path / "run"))
    shutil.copyfile(run.weights(run.point("baseline-int8")), run.weights(run.point("0-int8")))
    with pytest.raises(TrpSearchError, match="validation images in a fresh process, the point"):
        export_point(run, "0-int8", tmp_path / "out")
    assert not (tmp_path / "out").exists()


PROGRAM = """
def network(images):
    {line}
    return images.mean((2, 3))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("torch.empty(2**34, dtype=torch.uint8).fill_(1)", "it does not run in a fresh process: "),
        ("while True: pass", "it does not end within 3 s"),
        ("import trp_search", "it does not run in a fresh process: "),
    ],
)
def test_a_stranger_s_file_has_limited_memory_and_time_and_not_this_package(
    line: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(alone, "_SECONDS", 3.0 if "while" in line else 60.0)
    monkeypatch.setattr(alone, "_IMAGE_SECONDS", 0.0)
    (tmp_path / "file").touch()
    run = alone.run_alone(PROGRAM.format(line=line), limited=True)
    with pytest.raises(TrpSearchError, match=said):
        run(tmp_path / "file", torch.zeros(2, 3, 4, 4))
