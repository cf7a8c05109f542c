from __future__ import annotations

import dataclasses

import pytest
import torch

from trp_search.errors import InputError
from trp_search.runs import setup
from trp_search.store import RunFolder


def test_training_on_validation_too_takes_both_and_no_test_image(run: RunFolder):
    spec = run.trial("0").read_spec()
    apart = setup.splits_of(spec, run)
    joined = setup.splits_of(dataclasses.replace(spec, fit_on_validation=True), run)
    assert len(joined.train) == len(apart.train) + len(apart.validation)
    assert len(joined.test) == len(apart.test)


@pytest.mark.parametrize("fit_on_validation", [False, True])
def test_a_split_that_is_not_the_runs_is_refused(run: RunFolder, fit_on_validation: bool):
    spec = run.trial("0").read_spec()
    before = run.split.read_bytes()
    other = dataclasses.replace(spec, split_seed=1, fit_on_validation=fit_on_validation)
    with pytest.raises(InputError, match="the images, or their split, changed since the run began"):
        setup.splits_of(other, run)
    assert run.split.read_bytes() == before


def test_the_baseline_is_loaded_once_until_it_changes(run: RunFolder):
    spec = run.trial("0").read_spec()
    first = setup.baseline(spec, run)
    assert setup.baseline(spec, run) is first
    weights = run.trial("baseline").weights
    whole = weights.read_bytes()
    weights.unlink()
    with pytest.raises(InputError, match=str(weights)):
        setup.baseline(spec, run)
    weights.write_bytes(whole)
    assert setup.baseline(spec, run) is not first


def test_a_trial_alone_has_all_threads(run: RunFolder, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
    spec = dataclasses.replace(run.trial("0").read_spec(), threads=1)
    assert setup.alone(spec) == dataclasses.replace(spec, threads=7)
