from __future__ import annotations

import dataclasses
import json
from collections import Counter
from types import ModuleType

import pytest
import torch

from trp_search.errors import InputError
from trp_search.records import Distillation
from trp_search.runs import setup, trial
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


def test_images_that_were_exchanged_are_refused_and_runs_without_a_digest_go_on(run: RunFolder):
    spec = run.trial("0").read_spec()
    whole = run.split.read_text()
    told = json.loads(whole)
    run.split.write_text(json.dumps(told | {"digest": "0" * 64}))
    with pytest.raises(InputError, match="the images, or their split, changed since the run began"):
        setup.splits_of(spec, run)
    del told["digest"]
    run.split.write_text(json.dumps(told))
    setup.splits_of(spec, run)
    run.split.write_text(whole)


def test_a_network_of_other_multiply_adds_than_the_baseline_is_refused(run: RunFolder):
    network = setup.untrained(run.trial("0").read_spec())
    setup.check_network(run, network, torch.zeros(1, 1, 8, 8))
    with pytest.raises(InputError, match=r"the network has .* multiply-adds, the run's baseline "):
        setup.check_network(run, network, torch.zeros(1, 1, 12, 12))


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


def test_a_trial_looks_for_images_network_and_cost_once(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
):
    seen: Counter[str] = Counter()

    def counted(place: ModuleType, name: str) -> None:
        given = getattr(place, name)

        def count(*args: object, **options: object) -> object:
            seen[name] += 1
            return given(*args, **options)

        monkeypatch.setattr(place, name, count)

    for place, name in ((setup, "begin"), (setup, "splits_of"), (setup, "start")):
        counted(place, name)
    counted(setup, "cost_of")
    counted(setup.networks, "build")
    spec = run.trial("0").read_spec()
    settings = dataclasses.replace(spec.training, epochs=1)
    wanted = dataclasses.replace(
        spec,
        name="1",
        number=1,
        start="baseline",
        training=settings,
        fine_tuning=settings,
        distillation=Distillation(),
    )
    *_, result = trial.run(wanted, run)
    assert result.ended_well, result.why_not
    assert [point.id for point in result.points] == ["1-untuned", "1", "1-2x"]
    assert seen == {"begin": 1, "splits_of": 1, "start": 1, "cost_of": 1, "build": 1}


def test_a_trial_alone_has_all_threads(run: RunFolder, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
    spec = dataclasses.replace(run.trial("0").read_spec(), threads=1)
    assert setup.alone(spec) == dataclasses.replace(spec, threads=7)
