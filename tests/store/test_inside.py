"""Nothing is read, written or removed through a name or a link that leads out of a run."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from trp_search import report
from trp_search.errors import InputError
from trp_search.records import EpochReport, Point
from trp_search.search.retention import Keeper
from trp_search.space import load_space
from trp_search.store import RunFolder, append_record, exclusive, read_records

FILES = (
    "search environment study points tests latencies repeats judged importance front report split "
    "models lock test_lock scratch"
)
TRIAL_FILES = "spec epochs checkpoint fine_tuning weights result lock"


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path / "run")


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    path = tmp_path / "victim"
    path.mkdir()
    (path / "weights.safetensors").write_text("precious")
    return path


@pytest.mark.parametrize(
    "name", ["0r/../../../victim", "../victim", "..", "", ".hidden", "a/b", "7 (copy)", "a\n", "/x"]
)
def test_a_name_that_could_lead_elsewhere_is_no_trials_and_no_points(run: RunFolder, name: str):
    with pytest.raises(InputError, match=r"run: .* is not the name of a trial$"):
        run.trial(name)
    with pytest.raises(InputError, match=r"trials/0: .* is not the name of a point$"):
        run.trial("0").point_weights(name)


@pytest.mark.parametrize("key", ["trial", "id"])
def test_a_point_that_names_another_folder_removes_nothing_there(
    sample_run: RunFolder, victim: Path, key: str
):
    lines = sample_run.points.read_text().splitlines(keepends=True)
    forged = lines[-1].replace(f'"{key}":"17"', f'"{key}":"0r/../../../{victim.name}"')
    assert forged != lines[-1]
    sample_run.points.write_text("".join([*lines, forged]))
    with pytest.raises(InputError, match=rf"points\.jsonl: .*: line {len(lines) + 1}: {key}: "):
        Keeper(load_space(sample_run.search), sample_run).add(sample_run.read_points())
    assert [path.name for path in victim.iterdir()] == ["weights.safetensors"]


@pytest.mark.parametrize("name", FILES.split())
@pytest.mark.parametrize("there", [True, False])
def test_no_file_of_a_run_may_be_a_link(run: RunFolder, victim: Path, name: str, there: bool):
    path = getattr(run, name)
    path.symlink_to(victim / "weights.safetensors" if there else victim / "nothing")
    with pytest.raises(InputError, match=rf"{path}: is a link; [^\n]+$"):
        getattr(run, name)


@pytest.mark.parametrize("name", TRIAL_FILES.split())
def test_no_file_of_a_trial_may_be_a_link(run: RunFolder, victim: Path, name: str):
    place = run.trial("7")
    place.path.mkdir(parents=True)
    getattr(place, name).symlink_to(victim / "weights.safetensors")
    with pytest.raises(InputError, match=r"trials/7/\S+: is a link; "):
        getattr(place, name)


@pytest.mark.parametrize("linked", ["trials", "trials/7"])
def test_no_folder_of_trials_may_be_a_link(run: RunFolder, victim: Path, linked: str):
    path = run.path / linked
    path.parent.mkdir(exist_ok=True)
    path.symlink_to(victim)
    with pytest.raises(InputError, match=rf"{path}: is a link; "):
        run.trial("7")


@pytest.mark.parametrize("beside", ["-journal", "-wal", "-shm"])
def test_no_file_that_the_database_writes_may_be_a_link(run: RunFolder, victim: Path, beside: str):
    (run.path / f"study.db{beside}").symlink_to(victim / "nothing")
    with pytest.raises(InputError, match=rf"study\.db{beside}: is a link; "):
        _ = run.study


def test_a_run_that_is_given_as_a_link_is_one(sample_run: RunFolder, tmp_path: Path):
    link = tmp_path / "link"
    link.symlink_to(sample_run.path)
    assert RunFolder.open(link).read_points() == sample_run.read_points()
    assert RunFolder(path=link).read_points() == sample_run.read_points()
    report.write(RunFolder.open(link))
    assert sample_run.report.is_file()


def test_lists_and_locks_that_anyone_names_do_not_follow_links(
    tmp_path: Path, make_report: Callable[..., EpochReport]
):
    kept, link = tmp_path / "kept", tmp_path / "link"
    kept.write_text("precious\n")
    link.symlink_to(kept)
    with pytest.raises(InputError, match="link: is a link"):
        append_record(link, make_report(epoch=1))
    with (
        pytest.raises(InputError, match="link: is a link"),
        exclusive(link, wait_seconds=0.0, holder="taken"),
    ):
        pass
    assert kept.read_text() == "precious\n"


def test_a_folder_among_trials_that_is_none_is_named_and_a_file_is_let_be(run: RunFolder):
    run.trial("7").path.mkdir(parents=True)
    (run.path / "trials" / ".DS_Store").touch()
    (run.path / "trials" / ".cache").mkdir()
    (run.path / "trials" / "notes.txt").touch()
    assert run.trial_names() == ["7"]
    (run.path / "trials" / "7 (copy)").mkdir()
    with pytest.raises(InputError, match=r"trials: '7 \(copy\)' is not the name of a trial"):
        run.trial_names()


def test_trials_are_listed_as_people_sort_them(run: RunFolder):
    for name in ("8", "7.bak", "7r", "refit-7", "99999999999"):
        run.trial(name).path.mkdir(parents=True)
    assert run.trial_names() == ["refit-7", "7.bak", "7r", "8", "99999999999"]


def test_files_of_another_trial_are_refused(sample_run: RunFolder):
    sample_run.trial("3").path.rename(sample_run.trial("33").path)
    place = sample_run.trial("33")
    for read in (place.read_result, place.read_epochs):
        with pytest.raises(InputError, match=r"trials/33/\S+: is of trial '3', not of '33'"):
            read()


def test_what_is_no_file_or_too_large_is_not_read(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, make_point: Callable[..., Point]
):
    os.mkfifo(run.points)
    with pytest.raises(InputError, match=r"points\.jsonl: is not a file$"):
        run.read_points()
    run.points.unlink()
    with run.points.open("wb") as file:
        file.truncate(2**31)
    with pytest.raises(InputError, match=r"points\.jsonl: holds 2,147,483,648 bytes; at most"):
        run.read_points()


def test_deep_nesting_is_one_line(run: RunFolder):
    run.points.write_text('{"id":' + "[" * 100_000 + "\n")
    with pytest.raises(InputError, match=r"line 1: Invalid JSON: recursion limit [^\n]+$"):
        read_records(run.points, Point)
