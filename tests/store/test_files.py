import shutil
import subprocess
import sys
import textwrap

import pytest
from filelock import FileLock

from trp_search.errors import InputError
from trp_search.records import EpochReport, to_json
from trp_search.store import (
    RunFolder,
    append_record,
    exclusive,
    read_records,
    replacing,
    write_whole,
)


def test_records_come_back_in_order(tmp_path, make_report):
    path = tmp_path / "deep" / "epochs.jsonl"
    reports = [make_report(epoch=epoch) for epoch in (1, 2, 3)]
    for one in reports:
        append_record(path, one)
    assert read_records(path, EpochReport) == reports


@pytest.mark.parametrize("lost", [1, 5, 40])
def test_a_line_torn_by_a_crash_is_dropped_and_overwritten(tmp_path, lost, make_report):
    path = tmp_path / "epochs.jsonl"
    append_record(path, make_report(epoch=1))
    append_record(path, make_report(epoch=2))
    path.write_bytes(path.read_bytes()[:-lost])
    assert read_records(path, EpochReport) == [make_report(epoch=1)]
    append_record(path, make_report(epoch=3))
    assert read_records(path, EpochReport) == [make_report(epoch=1), make_report(epoch=3)]


def test_lines_that_processes_append_at_once_are_all_whole(tmp_path, make_report):
    path = tmp_path / "epochs.jsonl"
    code = f"""
        import dataclasses, sys
        from pathlib import Path
        from trp_search.records import EpochReport, from_json
        from trp_search.store import append_record
        one = from_json(EpochReport, sys.argv[1])
        for epoch in range(1, 101):
            append_record(Path({str(path)!r}), dataclasses.replace(one, epoch=epoch))
    """
    told = [to_json(make_report(trial, epoch=1, epochs=100)) for trial in ("1", "22")]
    command = [sys.executable, "-c", textwrap.dedent(code)]
    both = [subprocess.Popen([*command, text]) for text in told]
    assert [process.wait() for process in both] == [0, 0]
    found = [(report.trial, report.epoch) for report in read_records(path, EpochReport)]
    assert sorted(found) == [(trial, epoch) for trial in ("1", "22") for epoch in range(1, 101)]


def test_a_damaged_line_names_the_file(tmp_path):
    path = tmp_path / "epochs.jsonl"
    path.write_text('{"trial": 3}\n')
    with pytest.raises(InputError, match=r"epochs\.jsonl: not a list of EpochReport records"):
        read_records(path, EpochReport)


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "file"
    write_whole(path, "old")
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("half of the n")
        raise RuntimeError
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_lock_is_refused_while_another_process_holds_it_and_free_once_that_is_killed(tmp_path):
    path = tmp_path / ".lock"
    code = f"""
        import sys, time
        from pathlib import Path
        from trp_search.store import exclusive
        with exclusive(Path({str(path)!r}), wait_seconds=0.0, holder="taken"):
            print("held", flush=True)
            time.sleep(60)
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "held\n"
        with (
            pytest.raises(InputError, match="taken"),
            exclusive(path, wait_seconds=0.0, holder="taken"),
        ):
            pass
        process.kill()
    with exclusive(path, wait_seconds=5.0, holder="taken"):
        assert path.exists()


def test_a_damaged_line_names_its_number_and_the_key(tmp_path, make_report):
    path = tmp_path / "epochs.jsonl"
    append_record(path, make_report(epoch=1))
    good = path.read_text()
    path.write_text(good + good.replace('"epoch":1', '"epoch":"x"'))
    found = r"records: line 2: epoch: 'x': input should be a valid integer"
    with pytest.raises(InputError, match=found):
        read_records(path, EpochReport)


def test_what_cannot_be_read_names_the_file(tmp_path):
    trial = RunFolder.create(tmp_path / "run").trial("1")
    assert trial.read_result() is None
    for path, read in (
        (trial.result, trial.read_result),
        (trial.spec, trial.read_spec),
        (trial.epochs, trial.read_epochs),
    ):
        path.mkdir(parents=True)
        with pytest.raises(InputError, match=rf"{path.name}: cannot be read: Is a directory"):
            read()


@pytest.mark.parametrize(
    ("error", "told"),
    [(NotImplementedError(), "has no locks"), (OSError(37, "No locks available"), "No locks av")],
)
def test_a_file_system_without_locks_is_named(tmp_path, monkeypatch, error, told):
    def refuse(_):
        raise error

    monkeypatch.setattr(FileLock, "acquire", refuse)
    with (
        pytest.raises(InputError, match=f"{tmp_path}.*{told}"),
        exclusive(tmp_path / ".lock", wait_seconds=0.0, holder="taken"),
    ):
        pass


def test_a_point_without_cost_is_refused(tmp_path):
    run = RunFolder.create(tmp_path / "run")
    run.points.write_text('{"macs": 0, "dense_macs": 0}\n')
    with pytest.raises(InputError, match=r"points\.jsonl: not a list of Point records: line 1: "):
        run.read_points()


def test_a_folder_in_the_place_of_a_file_is_named_and_stays(tmp_path):
    path = tmp_path / "front.csv"
    path.mkdir()
    with pytest.raises(InputError, match=r"front\.csv: is not a file$"):
        write_whole(path, "text")
    assert list(tmp_path.iterdir()) == [path]


def test_a_run_that_was_removed_is_not_made_again_by_what_its_trials_write(tmp_path, make_report):
    trial = RunFolder.create(tmp_path / "run").trial("1")
    append_record(trial.epochs, make_report(epoch=1))
    shutil.rmtree(tmp_path / "run")
    with pytest.raises(FileNotFoundError):
        append_record(trial.epochs, make_report(epoch=2))
    with pytest.raises(FileNotFoundError):
        write_whole(trial.result, "{}")
    held = exclusive(trial.lock, wait_seconds=0.0, holder="taken")
    with pytest.raises(InputError, match="cannot be locked: No such file"), held:
        pass
    assert not (tmp_path / "run").exists()
