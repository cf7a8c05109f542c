"""Limits: `export` takes those of `select` and reads the run as often as it, once."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from trp_search.errors import InputError
from trp_search.export import write
from trp_search.store import RunFolder

_WATCHED: list[list[str]] = []


def _note(event: str, given: tuple[object, ...]) -> None:
    if event == "open" and _WATCHED:
        _WATCHED[-1].append(str(given[0]))


sys.addaudithook(_note)


@contextmanager
def opened() -> Iterator[list[str]]:
    """Every file that this process opens in the block."""
    _WATCHED.append([])
    try:
        yield _WATCHED[-1]
    finally:
        _WATCHED.pop()


LIMITS = {
    "speedup": ("--speedup", "2"),
    "drop": ("--max-drop", "0.03"),
    "parameters": ("--parameters", "30000"),
    "milliseconds": ("--milliseconds", "6"),
    "by parameters": ("--speedup", "1.5", "--by", "parameters"),
    "latency speedup": ("--latency-speedup", "1.1"),
    "on a target": ("--speedup", "1.1", "--target", "laptop"),
}


@pytest.mark.parametrize("limit", LIMITS.values(), ids=LIMITS)
def test_export_takes_the_point_that_select_chooses(
    limit: tuple[str, ...], trp, timed_run: RunFolder, monkeypatch: pytest.MonkeyPatch
):
    taken = []

    def export_point(run, point, out, **given):
        taken.append(point.id)
        raise InputError("enough")

    monkeypatch.setattr(write, "export_point", export_point)
    chosen = json.loads(trp("select", timed_run.path, *limit, "--json").out)["point"]
    assert trp("export", timed_run.path, *limit, "--out", "out").err == "trp-search: enough\n"
    assert taken == [chosen]


def test_a_limit_and_a_point_are_one_too_many(trp, sample_run: RunFolder):
    for words in ([], ["--point", "2", "--bytes", "1"]):
        ended = trp("export", sample_run.path, *words, "--out", "out")
        assert ended.code == 2
        assert ended.err.startswith("trp-search: export: give --point or one of --speedup, --max-")


def test_what_is_wrong_with_a_limit_is_told_by_its_options(trp, sample_run: RunFolder):
    every = "--speedup, --max-drop, --latency-speedup, --milliseconds, --parameters, --bytes"
    for words, said in (
        (["--by", "macs"], f"no budget: give one of {every}"),
        (["--max-drop", "0.1", "--bytes", "9"], f"--max-drop and --bytes: give one of {every}"),
        (["--max-drop", "-1"], "--max-drop: -1 is not at least 0"),
        (["--speedup", "2", "--by", "size"], "--by: 'size' is none of"),
    ):
        assert trp("select", sample_run.path, *words).err.startswith(f"trp-search: {said}")


@pytest.mark.parametrize("limit", LIMITS.values(), ids=LIMITS)
def test_select_reads_the_points_once(limit: tuple[str, ...], trp, timed_run: RunFolder):
    with opened() as files:
        assert trp("select", timed_run.path, *limit).code == 0
    assert files.count(str(timed_run.points)) == 1
    assert files.count(str(timed_run.search)) == 1


def test_a_budget_out_of_reach_reads_the_points_once_too(trp, run: RunFolder):
    with opened() as files:
        assert "Next" in trp("select", run.path, "--speedup", "9").out
    assert files.count(str(run.points)) == 1


@pytest.mark.slow
@pytest.mark.usefixtures("verified_here")
def test_export_reads_the_points_once_and_again_for_the_page_of_a_new_test_score(
    trp, run: RunFolder, tmp_path: Path
):
    for reads, spaces in ((2, 3), (1, 1)):
        with opened() as files:
            out = tmp_path / f"out-{reads}"
            assert trp("export", run.path, "--speedup", "1.5", "--out", out).code == 0
        assert files.count(str(run.points)) == reads
        assert files.count(str(run.search)) == spaces
    assert "test accuracy" in run.report.read_text()
