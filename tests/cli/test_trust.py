"""Commands on a run folder that somebody else may have made: what of it they call."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

import trp_search
from trp_search.errors import InputError
from trp_search.records import DataSpec, NetworkSpec, to_json
from trp_search.space import any_trial, load_space
from trp_search.store import RunFolder, append_record, write_whole

CALLED = """\
from pathlib import Path
def boom():
    Path({mark!r}).touch()
"""
LOOKING = (
    ("status",),
    ("report",),
    ("published",),
    ("select", "--speedup", "2"),
    ("select", "--speedup", "1.5", "--json"),
    ("select", "--speedup", "9"),
    ("select", "--max-drop", "0.1"),
    ("select", "--parameters", "50000"),
    ("select", "--bytes", "100000"),
    ("select", "--milliseconds", "6"),
)
BUILDING = (
    ("cut", "--trial", "0", "--speedup", "2"),
    ("latency", "--target", "here", "--seconds", "0.01"),
    ("export", "--point", "5", "--out", "bundle"),
    ("resume",),
    ("confirm", "--seeds", "1"),
    ("quantize",),
    ("refit", "--point", "5"),
)


class _Refused:
    """Fails where one of these modules is looked for, so before it can be imported."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: object) -> ModuleSpec | None:
        assert not name.startswith("handed_"), name
        return None


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """A file that is there once what the run names was called."""
    return tmp_path / "called"


@pytest.fixture
def handed(
    sample_run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mark: Path
) -> RunFolder:
    """A run whose network is code from outside the folder that one is in."""
    monkeypatch.chdir(_made(tmp_path / "project"))
    monkeypatch.syspath_prepend(_made(tmp_path / "elsewhere"))
    monkeypatch.delitem(sys.modules, "handed_network", raising=False)
    (tmp_path / "elsewhere" / "handed_network.py").write_text(CALLED.format(mark=str(mark)))
    return _naming(sample_run, network="handed_network:boom")


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _naming(run: RunFolder, **names: str) -> RunFolder:
    """The run, all of whose files name this network and these images; weights are there."""
    space = load_space(run.search)
    workload = space.workload
    if "network" in names:
        workload = dataclasses.replace(workload, network=NetworkSpec(name=names["network"]))
    if "data" in names:
        workload = dataclasses.replace(workload, data=DataSpec(name=names["data"]))
    write_whole(run.search, space.model_copy(update={"workload": workload}).dump())
    space = load_space(run.search)
    for name in run.trial_names():
        spec = space.baseline_spec()
        if name != spec.name:
            drawn = dataclasses.replace(any_trial(space, {}), name=name, number=int(name))
            spec = dataclasses.replace(drawn, start="scratch", training=space.training)
        write_whole(run.trial(name).spec, to_json(spec))
        run.trial(name).weights.touch()
    for point in run.read_points():
        run.weights(point).touch()
    run.study.write_text("not looked into here")
    return run


def _content(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("names", [{"network": "handed_a:b"}, {"data": "handed_a:b"}])
def test_who_looks_at_a_run_imports_nothing_that_it_names(
    trp, sample_run, names, make_latency, monkeypatch
):
    run = _naming(sample_run, **names)
    for point in ("7", "2", "5"):
        append_record(run.latencies, make_latency(point, target="here", low=1.5))
    sys_path = [_Refused(), *sys.meta_path]
    monkeypatch.setattr(sys, "meta_path", sys_path)
    for command, *options in LOOKING:
        ended = trp(command, *([] if command == "published" else [run.path]), *options)
        assert ended.code == (1 if "9" in options else 0), (command, options, ended.err)
        assert "handed_a" not in ended.err
    trp_search.points(run)


@pytest.mark.parametrize("words", BUILDING, ids=lambda words: words[0])
def test_code_that_is_not_one_s_own_is_asked_about_before_anything_is_written(
    trp, handed, mark, words
):
    command, *options = words
    before = _content(handed.path.parent)
    ended = trp(command, handed.path, *options)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == (
        f"trp-search: {handed.search}: workload.network: 'handed_network:boom' is not code "
        f"below the current folder, '{Path.cwd()}'; "
        "--trust (from Python trust=True) calls it all the same\n"
    )
    assert _content(handed.path.parent) == before
    trp(command, handed.path, *options, "--trust")
    assert mark.exists()


def test_python_asks_as_commands_do(handed, mark):
    with pytest.raises(InputError, match="'handed_network:boom' is not code below"):
        trp_search.resume_search(handed.path)
    with pytest.raises(InputError, match="'handed_network:boom' is not code below"):
        trp_search.export_point(handed, "5", "bundle")
    with pytest.raises(InputError, match="handed_network:boom returned NoneType"):
        trp_search.export_point(handed, "5", "bundle", trust=True)


def test_one_s_own_network_needs_no_trust(trp, handed, mark, monkeypatch):
    monkeypatch.chdir(handed.path.parent / "elsewhere")
    ended = trp("resume", handed.path)
    assert "handed_network:boom returned NoneType" in ended.err
    assert mark.exists()


def test_the_network_that_is_given_stands_for_the_run_s_in_all_of_an_export(
    trp, handed, mark, monkeypatch
):
    Path("handed_own.py").write_text("def make(): return 3")
    ended = trp(
        *("export", handed.path, "--point", "5", "--out", "bundle"),
        *("--network", "handed_own:make"),
    )
    assert "handed_own:make returned int" in ended.err
    assert not mark.exists()


def test_a_cluster_elsewhere_is_joined_where_it_is_given_or_trusted(trp, sample_run):
    space = load_space(sample_run.search)
    sample_run.study.write_text("not looked into here")
    for address in ("192.0.2.7:6379", "ray.example.org:6379"):
        write_whole(sample_run.search, space.model_copy(update={"address": address}).dump())
        ended = trp("resume", sample_run.path)
        assert ended.code == 2
        assert f"address: '{address}' is another machine" in ended.err
        assert f"--address {address} or --trust joins it" in ended.err


def test_settings_of_another_run_are_tried_without_its_code(trp, handed, tmp_path, mark):
    space = tmp_path / "own.yaml"
    space.write_text(handed.search.read_text().replace("handed_network:boom", "nonet"))
    ended = trp("search", space, "--from", handed.path, "--out", "new")
    assert ended.code == 2
    assert not mark.exists()
