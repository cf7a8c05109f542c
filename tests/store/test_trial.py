"""What a trial's folder says of it."""

from __future__ import annotations

import dataclasses

import pytest

from trp_search.records import DataSpec, to_json
from trp_search.store import RunFolder, write_whole


@pytest.mark.parametrize(
    ("search", "root"),
    [
        ("workload: {data: {name: images, root: there}}", "there"),
        ("workload: {data: {name: images}}", "here"),
        ("workload: {data: digits}", "here"),
        ("workload: {data: {name: images, root: [there]}}", "here"),
        ("workload: [", "here"),
        (None, "here"),
    ],
)
def test_a_run_says_where_the_images_of_its_trials_lie(tmp_path, make_spec, search, root):
    run = RunFolder(path=tmp_path)
    spec, trial = make_spec("0"), run.trial("0")
    images = DataSpec(name="images", root="here")
    spec = dataclasses.replace(spec, workload=dataclasses.replace(spec.workload, data=images))
    write_whole(trial.spec, to_json(spec))
    if search is not None:
        write_whole(run.search, "workload: {data: {name: images, root: here}}")
        assert trial.read_spec() == spec
        write_whole(run.search, search)
    found = trial.read_spec()
    assert found.workload.data.root == root
    placed = dataclasses.replace(spec.workload, data=dataclasses.replace(images, root=root))
    assert found == dataclasses.replace(spec, workload=placed)


def test_a_source_without_a_folder_gets_none(tmp_path, make_spec):
    run = RunFolder(path=tmp_path)
    write_whole(run.search, "workload: {data: {name: images, root: there}}")
    write_whole(run.trial("0").spec, to_json(make_spec("0")))
    assert run.trial("0").read_spec() == make_spec("0")
