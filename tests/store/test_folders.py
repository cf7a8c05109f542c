import json

import pytest

from trp_search.errors import InputError
from trp_search.store import (
    FORMAT,
    RunFolder,
    append_record,
    write_whole,
)


def test_an_occupied_folder_is_refused_and_left_alone(tmp_path):
    (tmp_path / "mine").write_text("precious")
    with pytest.raises(InputError, match="already holds something"):
        RunFolder.create(tmp_path)
    assert (tmp_path / "mine").read_text() == "precious"


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(InputError, match="no such run folder"):
        RunFolder.open(tmp_path / "absent")
    with pytest.raises(InputError, match=r"not a run folder \(it has no search\.yaml\)"):
        RunFolder.open(tmp_path)


@pytest.mark.parametrize(
    ("made", "version"),
    [
        (None, "0.1.0"),  # by compress
        ({"versions": {"trp_search": "0.1.0"}}, "0.1.0"),
        ({"format": FORMAT + 1, "versions": {"trp_search": "0.9.1"}}, "0.9.1"),
        ({"format": "2", "versions": ["0.1.0"]}, "0.1.0"),
    ],
)
def test_a_run_of_another_format_is_refused_in_a_line_that_names_its_version(
    empty_run, made, version
):
    empty_run.environment.unlink()
    if made is not None:
        write_whole(empty_run.environment, json.dumps(made))
    with pytest.raises(InputError) as caught:
        RunFolder.open(empty_run.path)
    said = f"{empty_run.path}: is a run of trp_search {version}; that version reads it"
    assert str(caught.value) == said


def test_an_epoch_that_ran_twice_counts_once_as_it_ran_last(tmp_path, make_report):
    folder = RunFolder.create(tmp_path / "run").trial("1")
    for one in (
        make_report(epoch=1),
        make_report(epoch=2, metric=0.1),
        make_report(epoch=2, metric=0.7),
        make_report(epoch=3),
    ):
        append_record(folder.epochs, one)
    assert [r.metric for r in folder.read_epochs()] == [0.5, 0.7, 0.5]


def test_trials_are_listed_by_number(tmp_path):
    run = RunFolder.create(tmp_path / "run")
    for name in ("10", "9", "baseline", "9r1"):
        run.trial(name).path.mkdir(parents=True)
    assert run.trial_names() == ["baseline", "9", "9r1", "10"]
    for name in ("1\u0661\u0662", "1a2"):  # digits of another script are letters
        run.trial(name).path.mkdir()
    assert run.trial_names() == ["baseline", "1a2", "1\u0661\u0662", "9", "9r1", "10"]


def test_a_damaged_result_names_the_file_and_the_key(tmp_path):
    trial = RunFolder.create(tmp_path / "run").trial("1")
    write_whole(trial.result, '{"trial": "1"}')
    with pytest.raises(
        InputError, match=r"result\.json: is not a trial's result: points: field req"
    ):
        trial.read_result()


def test_points_are_added_once(tmp_path, make_point):
    run = RunFolder.create(tmp_path / "run")
    one, two = make_point("0", correct=190, speedup=2.0), make_point("1", correct=180, speedup=3.0)
    run.add_points([one])
    run.add_points([one, two])
    assert run.read_points() == [one, two]
