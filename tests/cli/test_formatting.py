"""Amounts, times and commands as they are printed."""

from __future__ import annotations

from pathlib import Path

import pytest

from trp_search.cli.formatting import amount, clock, command, duration, here


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 ms"),
        (0.0421, "42 ms"),
        (0.1, "0.1 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (80.2, "1 min 20 s"),
        (1500.0, "25 min"),
        (3600.0, "1 h"),
        (7500.0, "2 h 5 min"),
    ],
)
def test_durations_have_the_units_a_person_would_use(seconds: float, text: str):
    assert duration(seconds) == text


def test_clocks_show_hours_only_when_there_are_any():
    assert [clock(s) for s in (0.9, 41.0, 725.0, 3723.0)] == ["0:00", "0:41", "12:05", "1:02:03"]


def test_amounts_have_three_digits():
    shown = [amount(n) for n in (640, 1280, 71_000, 270_896, 40_600_000, 1_810_000_000)]
    assert shown == ["640", "1.28k", "71.0k", "271k", "40.6M", "1.81G"]


def test_commands_can_be_typed_as_they_are_printed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.argv", ["/usr/lib/trp_search/__main__.py"])
    assert command("select", Path("my runs/a")) == "python -m trp_search select 'my runs/a'"
    assert command("select", Path("-a"), "-1") == "python -m trp_search select ./-a -1"
    monkeypatch.setattr("sys.argv", [str(Path.cwd() / ".venv/bin/trp-search")])
    assert command("status") == ".venv/bin/trp-search status"


def test_paths_below_the_current_folder_are_relative(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert here(tmp_path / "results" / "a") == Path("results/a")
    assert here(Path("/elsewhere")) == Path("/elsewhere")
    assert here(tmp_path) == tmp_path
