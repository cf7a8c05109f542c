"""Budgets in time on the command line: what goes with what."""

from __future__ import annotations

from pathlib import Path

import pytest

from trp_search.cli import main


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
            "--target: --speedup is no budget in time; these are --latency-speedup, --milliseconds",
        ),
        (
            ["--speedup", "2", "--batch", "8"],
            "--target: --speedup is no budget in time; these are --latency-speedup, --milliseconds",
        ),
        (
            ["--latency-speedup", "0.5", "--target", "laptop"],
            "--latency_speedup: 0.5 is not at least 1",
        ),
    ],
)
def test_what_does_not_go_together_is_one_line(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["cut", str(tmp_path), "--trial", "baseline", *words]) == 2
    assert capsys.readouterr().err == f"trp-search: {said}\n"


def test_a_bundle_has_no_targets(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "architecture.json").write_text("{}")
    assert main(["cut", str(tmp_path), "--milliseconds", "2", "--target", "laptop"]) == 2
    assert capsys.readouterr().err == (
        f"trp-search: --milliseconds: is for run folders; {tmp_path} is a bundle\n"
    )
