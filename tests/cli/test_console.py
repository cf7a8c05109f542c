"""What a run folder holds is printed as text: it does not steer the terminal and is no markup."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.table import Table

from trp_search.cli.console import OUT, following, line, pairs, shown
from trp_search.records import Point, TrialResult, to_json
from trp_search.store import RunFolder, append_record, write_whole

EVIL = (
    "\x1b[2J\x9b31m\a\x7f [red]x[/red] [link=http://a]y[/link] :smile:\r\nDone\u2028\u202e\u2066end"
)
TEXT = (
    r"\x1b[2J\x9b31m\x07\x7f [red]x[/red] [link=http://a]y[/link] :smile:"
    r"\r\nDone\u2028\u202e\u2066end"
)
STEERING = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def printed(capsys: pytest.CaptureFixture[str]) -> str:
    out = capsys.readouterr().out
    assert not STEERING.search(out)
    return out


def test_a_line_a_pair_and_a_command_are_text(capsys: pytest.CaptureFixture[str]):
    line(EVIL)
    assert printed(capsys) == f"{TEXT}\n"
    pairs([(EVIL, EVIL)])
    assert printed(capsys) == f"  {TEXT}  {TEXT}\n"
    following([EVIL])
    assert printed(capsys) == f"\nNext:\n  {TEXT}\n"


def test_a_cell_and_a_heading_are_text(capsys: pytest.CaptureFixture[str]):
    table = Table(EVIL, box=None)
    table.add_row(EVIL)
    OUT.print(table)
    assert printed(capsys).split() == f"{TEXT} {TEXT}".split()


def test_words_of_any_language_stay_as_they_are():
    text = "naïve 網路 \N{MULTIPLICATION SIGN} ﷺ \N{NO-BREAK SPACE}e\N{COMBINING ACUTE ACCENT}"
    assert shown(text) == text


def test_reasons_and_settings_of_a_run_are_text(
    trp: Callable[..., Any], sample_run: RunFolder, make_point: Callable[..., Point]
):
    point = make_point("99", correct=200, speedup=9.0, settings={EVIL: EVIL, "energy": 0.5})
    append_record(sample_run.points, point)
    lost = TrialResult(trial="77", points=(), failed=EVIL)
    write_whole(sample_run.trial("77").result, to_json(lost))
    ended = trp("status", sample_run.path)
    assert (ended.code, STEERING.search(ended.out)) == (0, None)
    assert f"  77: failed: {TEXT}\n" in ended.out
    ended = trp("select", sample_run.path, "--speedup", 9)
    assert (ended.code, STEERING.search(ended.out)) == (0, None)
    assert f"  {TEXT}  {TEXT}\n" in ended.out
    ended = trp("select", sample_run.path, "--speedup", 9, "--json")
    assert json.loads(ended.out)["settings"] == {EVIL: EVIL, "energy": 0.5}


def test_an_error_is_text(trp: Callable[..., Any], tmp_path):
    ended = trp("status", f"{tmp_path}/a\x1b[31mb\u202ec")
    assert ended.code == 2
    assert ended.err.endswith("/a\\x1b[31mb\\u202ec: no such run folder\n")


PRINTS = """
import sys
from pathlib import Path
from trp_search.cli.console import line

for number in range(100_000):
    line(f"epoch {number}")
Path(sys.argv[1]).write_text("done")
"""


def test_what_prints_goes_on_when_nobody_reads_any_more(tmp_path: Path):
    words = [sys.executable, "-c", PRINTS, str(tmp_path / "mark")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"epoch 0\n"
        process.stdout.close()
        assert (process.wait(60), process.stderr.read()) == (0, b"")
    assert (tmp_path / "mark").read_text() == "done"
