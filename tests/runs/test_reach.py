"""What a network reaches on a target, and the times that a search predicts from it."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from trp_search.errors import InputError
from trp_search.lowrank.cutting import Cutter
from trp_search.lowrank.times import LayerTimes
from trp_search.records import Cut, Ranks, Ratio, Speedup, Target, TimeTable, from_json, to_json
from trp_search.runs import setup
from trp_search.runs.compress import recut
from trp_search.runs.layer_times import Stopwatch
from trp_search.runs.predicted import predicted_int8, predicting
from trp_search.runs.reach import EACH, SCHEMES, Bench, Reach, tables
from trp_search.runs.whole_times import kinds, with_shares
from trp_search.scoring.flops import count
from trp_search.space import SearchSpace, load_space
from trp_search.space.sections import Timed
from trp_search.store import RunFolder, write_whole
from trp_search.workloads import data

SPACE = {
    "workload": {"network": "small_resnet", "data": {"name": "digits"}},
    "training": {"epochs": 1, "batch_size": 64, "learning_rate": 0.1},
    "space": {
        "method": ["trp", "tucker", "cp", "prune", "net-trim"],
        "cut_speedup": 1.5,
        "multiple": [4, 8],
        "error": 0.1,
    },
}
HERE = Target(name="here", height=8, width=8)
ASKED = Timed(name="here", seconds=1e-3)


@pytest.fixture(scope="module")
def timed(trained_run: RunFolder, tmp_path_factory: pytest.TempPathFactory):
    """A space, the folder that its layers' times are kept in, and what its network reaches."""
    space = load_space(trained_run.search)
    folder = RunFolder(path=tmp_path_factory.mktemp("timed"))
    spec = space.baseline_spec()
    network, shape = setup.untrained(spec), data.describe(spec.workload.data)
    bench = Bench(network, shape, HERE, folder, layers="kxk", seconds=1e-4)
    return space, folder, bench.reach()


def test_the_fastest_network_has_every_layer_at_the_lowest_rank_that_saves_time(
    timed: tuple[SearchSpace, RunFolder, Reach],
):
    _, _, found = timed
    assert set(found.best) == set(SCHEMES)
    for scheme, best in found.best.items():
        for name, (own, rank) in best.layers.items():
            assert scheme in (own, EACH)
            assert rank == min(found.times.saved[name, own].saved)
            assert found.times.saved_by({name: (own, rank)}) > 0
        left = sum(milliseconds for _, milliseconds in best.caps)
        assert all(milliseconds >= 0 for _, milliseconds in best.caps)
        assert left >= found.times.total - found.times.saved_by(best.layers) - 1e-9
    every = found.times.saved_by(found.best[EACH].layers)
    assert all(found.times.saved_by(best.layers) <= every + 1e-9 for best in found.best.values())


def test_layers_are_timed_once_and_the_table_is_what_a_search_predicts_from(
    timed: tuple[SearchSpace, RunFolder, Reach],
):
    space, folder, _ = timed
    before = [one for one in folder.read_cut_times() if one.kind is not None]
    (found,) = tables(space, ASKED, folder)
    assert [one for one in folder.read_cut_times() if one.kind is not None] == before
    assert from_json(TimeTable, to_json(found)) == found
    assert found.target == HERE
    assert {(one.layer, one.scheme) for one in found.layers} == {
        (name, scheme) for one in before for name, (scheme, _) in one.layers.items()
    }


def test_every_way_of_a_space_to_cut_has_a_time(space: SearchSpace, tmp_path):
    wanted = kinds(space)
    assert wanted == {"decoupled": 1, "tucker": 4, "cp": 4, "pruned": 4}
    torch.manual_seed(0)
    network = nn.Sequential(
        *(nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU()),
        *(nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(1024, 4)),
    ).eval()
    image, folder = torch.zeros(1, 3, 8, 8), RunFolder(path=tmp_path)
    macs = count(network, image).macs
    clock = Stopwatch(folder, network, [], HERE, channels=3, seconds=1e-4)
    bare = LayerTimes(total=1.0, saved={}, macs=macs)
    found = with_shares(bare, clock, network, image, layers="all", wanted=wanted)
    assert found.shares.keys() == wanted.keys()
    cutter = Cutter(network, image, macs=macs, samples=None)
    for kind, pairs in found.shares.items():
        counted = [share for share, _ in pairs]
        assert counted == sorted(counted)
        assert 0 < counted[-1] < 1
        importance = "magnitude" if kind == "pruned" else None
        scheme = kind if importance is None else "prune"
        made = cutter.cut(Cut(scheme=scheme, importance=importance, keep=Ratio(0.2), layers="all"))
        assert bare.milliseconds(made.layers) is None
        assert found.milliseconds(made.layers) is not None


@pytest.mark.parametrize(("runtime", "told"), [("onnxruntime", True), ("openvino", False)])
def test_a_network_in_int8_is_predicted_by_the_table_of_its_runtime(run, runtime, told):
    about = {"machine": "none", "versions": {}, "macs": 100, "layers": []}
    for precision, milliseconds in (("float32", 12.0), ("int8", 5.0)):
        target = {"name": "a", "runtime": runtime, "height": 8, "width": 8}
        own = {"precision": precision, "milliseconds": milliseconds, "target": target}
        write_whole(run.times_in(precision), json.dumps(about | own))
    found = predicted_int8(run, (), "onnxruntime")
    assert (found is not None) == told
    assert found is None or found.speedup == 12 / 5


def test_a_missing_runtime_is_said_before_anything_is_timed(trained_run: RunFolder, tmp_path):
    folder = RunFolder(path=tmp_path)
    with pytest.raises(InputError, match="device: cuda"):
        tables(load_space(trained_run.search), Timed(name="a", device="cuda"), folder)
    assert not folder.cut_times.exists()


def test_without_a_table_nothing_is_predicted(run: RunFolder):
    assert predicting(run)(()) is None
    assert {point.predicted for point in run.read_points()} == {None}


def test_every_point_has_the_time_of_its_layers_and_the_table_alone_decides(run: RunFolder):
    layers = [layer for layer in run.point("0").layers if layer.scheme]
    rows = [
        {"layer": x.name, "scheme": x.scheme, "step": 1, "saved": {"1": 2.0, str(x.rank + 9): -1.0}}
        for x in layers
    ]
    whole = {"milliseconds": 10.0 * len(layers), "macs": run.point("baseline").macs}
    about = {"target": {"name": "a", "height": 8, "width": 8}, "machine": "none", "versions": {}}
    write_whole(run.times, json.dumps(about | whole | {"layers": rows}))
    ranks = Ranks({x.name: 1 for x in layers})
    lowest = recut(run, "0", Cut(scheme="spatial", keep=ranks, layers="kxk"))
    assert lowest.predicted is not None
    assert lowest.milliseconds == pytest.approx(8.0 * len(layers))
    assert lowest.latency_speedup == pytest.approx(10 / 8)
    other = recut(run, "0", Cut(scheme="spatial", keep=Speedup(1.5), layers="kxk"))
    assert other.predicted is not None
    assert other.milliseconds > lowest.milliseconds
    assert predicting(run)(run.point("0").layers).milliseconds == pytest.approx(
        sum(10 - 2 + 3 * (x.rank - 1) / (x.rank + 8) for x in layers)
    )
    assert run.point(lowest.id).predicted == lowest.predicted
