"""Every end of a command is one line and an exit code."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from trp_search import cli
from trp_search.cli import looking

COMMANDS = (
    "check",
    "search",
    "resume",
    "status",
    "report",
    "select",
    "export",
    "evaluate",
    "refit",
)


def assert_refused(ended, *parts: str):
    assert ended.code == 2
    assert ended.out == ""
    assert ended.err.startswith("trp-search: ")
    assert ended.err.count("\n") == 1
    for part in parts:
        assert part in ended.err


def python(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)


def test_without_a_command_the_commands_are_listed(trp):
    ended = trp()
    assert ended.code == 0
    for name in COMMANDS:
        assert f"\n  {name} " in ended.out


def test_help_of_each_command_fits_eighty_columns(trp):
    for name in COMMANDS:
        ended = trp(name, "--help")
        assert ended.code == 0
        assert all(len(line) <= 80 for line in ended.out.splitlines()), ended.out
        assert "..." not in ended.out


def test_many_options_stand_in_groups_and_each_once(trp):
    for name in COMMANDS:
        said = trp(name, "--help").out
        groups = dict(re.findall(r"^([A-Z].*):\n((?:  .*\n)+)", said, re.MULTILINE))
        options = {
            title: re.findall(r"^  (-\S+)", rows, re.MULTILINE) for title, rows in groups.items()
        }
        every = [option for found in options.values() for option in found]
        assert len(every) == len(set(every)), name
        if len(every) > 7:
            assert len([title for title in options if options[title]]) >= 2, said
            assert len(options["Options"]) <= 4, said


def test_the_version_is_printed(trp):
    assert trp("--version").out == f"{version('trp_search')}\n"


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["selects"], ["selects", "select"]),
        ([""], ["for the command: ''", "empty"]),
        (["select", ""], ["after select: ''", "empty"]),
        (["export", "run", "--out", ""], ["after --out: ''", "empty"]),
        (["status", "none", "--data=a=b="], ["--data"]),
        (["export", "run", "--out="], ["--out:", "empty"]),
        (["status"], ["RUN"]),
        (["status", "a", "b"], ["b"]),
        (["status", "a", "--colour"], ["--colour"]),
        (["select", "a"], ["--speedup"]),
        (["select", "a", "--speedup", "fast"], ["--speedup", "'fast' is not a number"]),
        (["search", "a", "--trials", "0"], ["--trials", "'0' is not a whole number from 1 up"]),
        (["search", "a", "--trials", "2.5"], ["--trials", "'2.5'"]),
        (["search", "a", "--concurrency", "-1"], ["--concurrency", "'-1'"]),
        (["search", "a", "--seed", "x"], ["--seed", "'x' is not a whole number from 0 up"]),
    ],
)
def test_a_wrong_command_line_is_told_in_one_line(trp, words, parts):
    assert_refused(trp(*words), *parts)


@pytest.mark.parametrize(
    "words",
    [
        ["status", "none"],
        ["report", "none"],
        ["resume", "none"],
        ["select", "none", "--speedup", "2"],
        ["export", "none", "--speedup", "2", "--out", "out"],
        ["refit", "none", "--point", "1"],
    ],
)
def test_a_run_folder_that_is_not_there_is_named(trp, words):
    assert_refused(trp(*words), "none: no such run folder")


@pytest.mark.parametrize("command", ["status", "report", "resume"])
def test_a_folder_that_is_no_run_is_named(trp, tmp_path: Path, command):
    assert_refused(trp(command, tmp_path), f"{tmp_path}: not a run folder")


@pytest.mark.parametrize("command", ["check", "search"])
def test_a_search_space_that_is_not_there_is_named(trp, command):
    assert_refused(trp(command, "none.yaml"), "none.yaml: cannot be read")


def test_a_bundle_that_is_not_there_is_named(trp):
    assert_refused(trp("evaluate", "none"), "none: no such bundle")


def test_a_value_as_long_as_a_file_is_told_by_its_ends(trp, tmp_path: Path):
    (tmp_path / "long.yaml").write_text(f"workload: {{network: {'x' * 30_000}, data: digits}}\n")
    ended = trp("check", str(tmp_path / "long.yaml"))
    assert ended.code == 2
    assert ended.err.count("\n") == 1
    assert len(ended.err) < 1300


@pytest.mark.parametrize(
    "words",
    [
        ("status", "{}"),
        ("check", "{}.yaml"),
        ("evaluate", "{}"),
        ("export", "{run}", "--out", "{}"),
    ],
    ids=lambda words: words[0],
)
def test_a_name_that_no_file_can_have_is_told_in_one_line(trp, sample_run, words):
    given = [word.format("n" * 300, run=sample_run.path) for word in words]
    ended = trp(*given, *(["--point", "0"] if words[0] == "export" else []))
    assert ended.code == 2
    assert ended.err.count("\n") == 1
    assert "nnn" in ended.err


def test_a_run_that_may_not_be_written_is_named(trp, sample_run, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied", str(sample_run.front))

    monkeypatch.setattr("trp_search.report.write", refuse)
    ended = trp("report", sample_run.path)
    assert (ended.code, ended.err) == (2, f"trp-search: {sample_run.front}: Permission denied\n")


def test_what_is_unforeseen_is_one_line_too_and_debug_shows_where(trp, monkeypatch):
    def fail(_: object):
        raise ZeroDivisionError("of\nall things")

    monkeypatch.setattr(looking.RunFolder, "open", fail)
    ended = trp("status", "any")
    assert ended.code == 1
    line = "trp-search: ZeroDivisionError: of all things (unexpected; --debug shows where)\n"
    assert ended.err == line
    shown = trp("status", "any", "--debug")
    assert shown.code == 1
    assert "Traceback" in shown.err
    assert shown.err.endswith(line)


def test_an_interrupt_ends_with_130_and_one_line(trp, monkeypatch):
    def interrupt(_: object):
        raise KeyboardInterrupt

    monkeypatch.setattr(looking.RunFolder, "open", interrupt)
    ended = trp("status", "any")
    assert (ended.code, ended.err) == (130, "trp-search: interrupted\n")


def test_the_module_runs_as_a_program(tmp_path: Path):
    ended = python("-m", "trp_search", "status", "none", cwd=tmp_path)
    assert ended.returncode == 2
    assert ended.stderr == "trp-search: none: no such run folder\n"


@pytest.mark.parametrize("statement", ["import trp_search", "import trp_search.cli"])
def test_starting_loads_neither_torch_nor_ray(statement):
    heavy = "[m for m in ('torch', 'ray', 'optuna', 'fvcore') if m in sys.modules]"
    ended = python("-c", f"import sys; {statement}; print({heavy})")
    assert (ended.stdout, ended.stderr) == ("[]\n", "")


def test_reading_a_run_loads_neither_torch_nor_ray(sample_run):
    program = (
        "import sys; from trp_search.cli import main; "
        f"codes = [main(['status', {str(sample_run.path)!r}]), "
        f"main(['select', {str(sample_run.path)!r}, '--speedup', '2'])]; "
        "print(codes, 'torch' in sys.modules, 'ray' in sys.modules)"
    )
    assert python("-c", program).stdout.endswith("[0, 0] False False\n")


def test_a_terminal_that_knows_only_ascii_still_gets_everything(sample_run):
    ended = subprocess.run(
        [sys.executable, "-m", "trp_search", "status", str(sample_run.path)],
        capture_output=True,
        check=False,
        env={"PYTHONIOENCODING": "ascii", "PATH": ""},
    )
    assert ended.returncode == 0
    assert b"2.08?" in ended.stdout


def test_main_takes_the_processes_own_arguments(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["trp-search", "--version"])
    assert cli.main() == 0
    assert capsys.readouterr().out == f"{version('trp_search')}\n"
