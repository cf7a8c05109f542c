"""Budgets in time on the command line: what goes with what."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from trp_search.cli import main, timed_cuts
from trp_search.export.bundle import read_card
from trp_search.export.write import export_point
from trp_search.records import to_json
from trp_search.runs.clock import measure, target_of
from trp_search.store import RunFolder, exclusive


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["--latency-speedup", "2"],
            "--latency-speedup: needs --target NAME, where it is measured",
        ),
        (["--milliseconds", "2"], "--milliseconds: needs --target NAME, where it is measured"),
        (
            ["--speedup", "2", "--target", "laptop"],
            "--target: --speedup is not a time budget; time budgets are --latency-speedup, "
            "--milliseconds",
        ),
        (
            ["--speedup", "2", "--batch", "8"],
            "--target: --speedup is not a time budget; time budgets are --latency-speedup, "
            "--milliseconds",
        ),
        (
            ["--latency-speedup", "0.5", "--target", "laptop"],
            "--latency-speedup: 0.5 is not at least 1",
        ),
    ],
)
def test_what_does_not_go_together_is_one_line(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["cut", str(tmp_path), "--trial", "baseline", *words]) == 2
    assert capsys.readouterr().err == f"trp-search: {said}\n"


def test_layers_are_not_timed_beside_a_search(
    run: RunFolder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(run.path.parent)
    words = ["cut", run.path.name, "--trial", "baseline", "--latency-speedup", "2"]
    with exclusive(run.lock, wait_seconds=0.0, holder="a search"):
        assert main([*words, "--target", "laptop"]) == 2
    assert capsys.readouterr().err.endswith(": another command is at work in this folder\n")
    assert not run.cut_times.exists()


def test_a_target_of_another_machine_is_refused_before_its_layers_are_timed(
    run: RunFolder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(run.path.parent)
    (found,) = measure(run, target_of(run, "laptop", {}), [run.point("0")], seconds=0.0)
    run.latencies.write_text(to_json(dataclasses.replace(found, machine="another")) + "\n")
    words = ["cut", run.path.name, "--trial", "baseline", "--latency-speedup", "2"]
    assert main([*words, "--target", "laptop"]) == 2
    assert "'laptop': was timed on another, this is" in capsys.readouterr().err
    assert not run.cut_times.exists()


@pytest.mark.slow
@pytest.mark.usefixtures("verified_here")
def test_a_bundle_is_cut_to_milliseconds_and_timed_by_another_process_before_it_is_written(
    run: RunFolder,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(timed_cuts, "_SECONDS", 0.05)
    bundle = export_point(run, "baseline", tmp_path / "full")
    layer = run.point("plain-2x").layers[-1].name
    words = [*("--target", "laptop"), *("--batch", "2"), *("--layers", layer)]
    words += ["--data", str(run.search)]
    assert main(["cut", str(bundle), "--milliseconds", "1e6", *words]) == 0
    said = capsys.readouterr().out
    assert said.index("On laptop, by another process: ") < said.index("Exported point plain-")
    made = RunFolder.open(tmp_path / "full-cut-run")
    (timed,) = made.read_latencies()["laptop"].values()
    assert read_card(tmp_path / "full-cut").point == made.point(timed.point)
    assert {name for one in made.read_cut_times() for name in one.layers} == {layer}
    out = ["--out", str(tmp_path / "none")]
    assert main(["cut", str(bundle), "--milliseconds", "1e-6", *words, *out]) == 2
    assert "milliseconds: 1e-06 cannot be reached" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
