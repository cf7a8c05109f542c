"""Whose code a run folder may have called."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from trp_search.errors import InputError
from trp_search.records import DataSpec, NetworkSpec, Workload, to_json
from trp_search.space import load_space
from trp_search.store import RunFolder, write_whole
from trp_search.workloads.trust import check_run

LEFT = "Path(__file__).with_suffix('.ran').touch()"
OWN = """\
import functools
import os.path
from os import system
from pathlib import Path
from subprocess import Popen
import torch
from torchvision.models import resnet18, ResNet
import torchvision.ops

class Net(torch.nn.Module):
    pass

def make():
    return Net()

@torch.no_grad()
def decorated():
    return Net()

cached = functools.lru_cache(make)
mine = functools.partial(functools.partial(make), 1)
small = functools.partial(resnet18, num_classes=10)
built = type("Builder", (), {"__call__": lambda self: Net(), "__module__": __name__})()
theirs = functools.partial(system, "true")
kept = functools.lru_cache(system)
joined = os.path.join
bound = Path("x").write_text
"""
EVIL = f"from pathlib import Path\n{LEFT}\ndef boom(): pass\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One's own folder, which one is in; `results/stranger` in it is a run that was unpacked."""
    place = tmp_path / "project"
    for name, text in {
        "trust_nets.py": OWN,
        "trust_deep/__init__.py": "",
        "trust_deep/plain/nets.py": OWN,  # a folder without __init__.py
        "results/stranger/evil.py": EVIL,
        "results/stranger/package/__init__.py": EVIL,
        "results/stranger/package/nets.py": OWN,
        ".venv/lib/site-packages/trust_installed.py": EVIL,
        "../elsewhere/trust_elsewhere.py": EVIL,
    }.items():
        file = place / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (place / "trust_link.py").symlink_to(tmp_path / "elsewhere" / "trust_elsewhere.py")
    (place / "trust_way_in.py").symlink_to(place / "results" / "stranger" / "evil.py")
    (place / "results" / "stranger" / "way_out.py").symlink_to(place / "trust_nets.py")
    monkeypatch.chdir(place)
    for folder in (tmp_path / "elsewhere", place / ".venv/lib/site-packages"):
        monkeypatch.syspath_prepend(folder)
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name in [name for name in sys.modules if name.startswith(("trust_", "results"))]:
        monkeypatch.delitem(sys.modules, name)
    return place


@pytest.fixture
def naming(project: Path, empty_run: RunFolder) -> Callable[..., RunFolder]:
    """That run, and what one of its files names."""

    def name(network: str = "small_resnet", data: str | DataSpec = "digits") -> RunFolder:
        folder = RunFolder(path=project / "results" / "stranger")
        text = empty_run.search.read_text()
        write_whole(folder.search, text)
        spec = load_space(folder.search).baseline_spec()
        images = data if isinstance(data, DataSpec) else DataSpec(name=data)
        named = Workload(network=NetworkSpec(name=network), data=images)
        spec = dataclasses.replace(spec, kind="search", name="0", workload=named)
        write_whole(folder.trial("0").spec, to_json(spec))
        return folder

    return name


def _check(folder: RunFolder, **own: str | None) -> None:
    check_run(folder, load_space(folder.search).workload, trust=False, **own)


@pytest.mark.parametrize(
    "name",
    [
        *("os:system", "subprocess:run", "builtins:exec", "sys:exit", "json.tool:main"),
        *("torch.hub:load", "trp_search.cli:main", "trp_search:load", "__main__:main"),
        *("results.stranger.evil:boom", "results.stranger.package.nets:make"),
        *("trust_installed:boom", "trust_elsewhere:boom", "trust_link:boom", "trust_way_in:boom"),
        *("results.stranger.way_out:make", ":boom", ".trust_nets:make", "trust_nets.:make"),
        *(
            f"trust_nets:{name}"
            for name in ("system", "Popen", "theirs", "kept", "joined", "bound")
        ),
        *("trust_nets:ResNet", "torchvision.io:read_file", "torchvision.models._api:get_model"),
        "torchvision.models.resnet:partial",
    ],
)
def test_code_that_is_not_one_s_own_is_refused_and_not_imported(project, naming, name):
    for folder in (naming(network=name), naming(data=name)):
        with pytest.raises(InputError) as caught:
            _check(folder)
        assert f"{folder.trial('0').spec}: workload." in str(caught.value)
        assert "--trust" in str(caught.value)
    assert not [*project.parent.rglob("*.ran")]


@pytest.mark.parametrize(
    "name",
    [
        *("small_resnet", "resnet18", "torchvision.models:resnet18", "trust_deep.plain.nets:make"),
        *("torchvision.models.vision_transformer:vit_b_16", "trust_nets:resnet18"),
        *("trust_nets:Net", "trust_nets:make", "trust_nets:decorated", "trust_nets:cached"),
        *("trust_nets:mine", "trust_nets:small", "trust_nets:built"),
    ],
)
def test_one_s_own_code_and_networks_of_torchvision_are_called_without_a_question(naming, name):
    _check(naming(network=name))


def test_where_one_stands_in_the_run_nothing_is_one_s_own(naming, monkeypatch):
    folder = naming(network="evil:boom")
    for place in (folder.path, folder.path / "package"):
        monkeypatch.chdir(place)
        with pytest.raises(InputError, match="lies in the run folder that names it"):
            _check(folder)


def test_the_search_space_counts_as_well(project, naming):
    folder = naming()
    text = folder.search.read_text()
    folder.search.write_text(text.replace("small_resnet", "os:system"))
    with pytest.raises(InputError, match=r"search\.yaml: workload\.network: 'os:system'"):
        _check(folder)


def test_what_is_trusted_is_not_looked_at(naming):
    folder = naming(network="os:system", data="os:system")
    check_run(folder, load_space(folder.search).workload, trust=True)


def test_a_network_that_the_caller_names_stands_for_those_of_the_run_but_not_for_its_images(naming):
    _check(naming(network="os:system"), network="os:system")
    with pytest.raises(InputError, match=r"workload\.data: 'os:system'"):
        _check(naming(network="os:system", data="os:system"), network="os:system")


def test_a_damaged_trial_names_nothing(naming):
    folder = naming(network="os:system")
    folder.trial("0").spec.write_text("{")
    _check(folder)


def test_images_that_are_missing_are_not_fetched_without_trust(project, naming):
    images = DataSpec(name="cifar10", root="images", download=True)
    folder = naming(data=images)
    with pytest.raises(InputError, match=r"data\.root: 'images' holds no whole cifar10; --trust"):
        _check(folder)
    assert not (project / "images").exists()
    _check(naming(data=dataclasses.replace(images, download=False)))
