"""A command in a child: whatever ends it, the parent says so in a line, and clears up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from trp_search.store import RunFolder

# What `search` does, and Ray; `{end}` is what happens then.
PROGRAM = """\
import os, signal, sys, time
import importlib
from trp_search.cli import _say
from trp_search.cli.signals import stops_raised

supervising = importlib.import_module("trp_search.cli.supervised")

def run():
    supervising.tell_parent(run="run")
    os.write(2, b"  @ 0x7f ray::core::CoreWorker::~CoreWorker()\\n")
    with stops_raised():
        {end}
    return 3

sys.exit(supervising.supervised(run, say=_say, quiet={quiet}))
"""
GOES_ON = "trp-search resume run"


def ended(place: Path, end: str, *, quiet: bool = True) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(end=end, quiet=quiet)],
        cwd=place,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stderr


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    run = RunFolder.create(tmp_path / "run")
    run.search.touch()
    run.report.write_text("a page that cannot be drawn again from an empty folder")
    return tmp_path


def test_a_command_that_ends_by_itself_has_the_last_word(begun: Path):
    assert ended(begun, 'sys.stderr.write("so it is\\n")') == (3, "so it is\n")
    assert (begun / "run" / "report.html").exists()


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        ("os._exit(1)", "Ray ended it: one of its processes died"),
        ("supervising.lost('the GCS died')", "the GCS died"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "killed by SIGKILL"),
        ("os.abort()", "killed by SIGABRT"),
    ],
)
def test_an_end_without_a_word_is_told_in_one_line(begun: Path, end: str, reason: str):
    assert ended(begun, end) == (1, f"trp-search: run: {reason}; resume with {GOES_ON}\n")
    assert not (begun / "run" / "report.html").exists(), "it said that the search runs"


def test_before_anything_was_written_there_is_nothing_to_resume(tmp_path: Path):
    code, said = ended(tmp_path, "os._exit(1)")
    assert code == 1
    assert said.endswith("one of its processes died before anything had begun\n")


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_signals_are_passed_on_and_are_the_reason(begun: Path, name: str):
    end = f"os.kill(os.getppid(), signal.{name}); time.sleep(30)"
    code, said = ended(begun, f"exec('''try: {end}\\nexcept KeyboardInterrupt: os._exit(9)''')")
    word = "stopped" if name == "SIGINT" else f"stopped by {name}"
    assert code == (130 if name == "SIGINT" else 1)
    assert said == f"trp-search: {word}; resume with {GOES_ON}\n"


def test_a_child_does_not_outlive_its_parent(begun: Path):
    end = "print(os.getpid(), flush=True); os.kill(os.getppid(), signal.SIGKILL); time.sleep(60)"
    program = [sys.executable, "-c", PROGRAM.format(end=end, quiet=True)]
    process = subprocess.Popen(program, cwd=begun, stdout=subprocess.PIPE, text=True)
    out, _ = process.communicate(timeout=30)  # its child holds the pipe, too
    assert process.returncode == -signal.SIGKILL
    with pytest.raises(ProcessLookupError):
        while os.kill(int(out), 0) is None:
            pass


def test_debug_shows_what_was_written_past_python(begun: Path):
    assert "CoreWorker" in ended(begun, "pass", quiet=False)[1]
