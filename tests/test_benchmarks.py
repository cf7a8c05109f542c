"""Every benchmark starts: its imports are there, and its options are told."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
COMMANDS = sorted(p for p in FOLDER.glob("*.py") if "__main__" in p.read_text())
COMMANDS += FOLDER.glob("*/__main__.py")


@pytest.mark.parametrize("path", COMMANDS, ids=lambda path: str(path.relative_to(FOLDER)))
def test_a_benchmark_starts_and_tells_its_options(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.syspath_prepend(str(FOLDER.parent))  # the root, for `python -m benchmarks.NAME`
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.setattr(sys, "argv", [path.name, "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(path), run_name="__main__")
    assert not ended.value.code
    assert "usage:" in capsys.readouterr().out.lower()
