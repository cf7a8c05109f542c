"""Joining a cluster: two nodes on this machine, and what can be wrong with an address."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from trp_search.errors import InputError
from trp_search.records import DataSpec, NetworkSpec, Workload
from trp_search.search import joining
from trp_search.search.driver import run_search
from trp_search.space import SearchSpace
from trp_search.store import RunFolder
from trp_search.workloads.callables import user_modules

MODULES = Path(__file__).parent / "modules"
TEXT = """\
workload:
  network: {{name: "their_network:build", options: {{marks: {marks}}}}}
  data: {{name: "their_images:load"}}
training: {{epochs: 2, batch_size: 16}}
space:
  start: scratch
  energy: {{low: 0.6, high: 0.99}}
  training: {{epochs: 1}}
trials: 3
extra_cuts: {{speedups: [2], energies: []}}
"""


@pytest.mark.slow
def test_two_nodes_share_a_search_and_get_the_users_modules(folder: RunFolder):
    place = folder.path.parent
    marks = place / "marks"
    marks.mkdir()
    (place / "space.yaml").write_text(TEXT.format(marks=marks))
    done = subprocess.run(
        [sys.executable, str(MODULES / "two_raylets.py"), str(folder.path), "space.yaml"],
        cwd=place,
        env=os.environ | {"RAY_AUTH_MODE": "disabled"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert {point.id for point in folder.read_points()} >= {"baseline", "0", "1", "2"}
    assert "Started(trials=3, done=0, concurrency=2, metric='accuracy', " in done.stdout
    assert folder.trial("baseline").read_spec().threads == 1, "Ray knows of no more"
    notes = [note.read_text() for note in marks.iterdir()]
    assert len(notes) == 2, "one for each node"
    assert all("py_modules_files" in note for note in notes), "workers got their own copy"
    assert not list(folder.path.glob(".token*"))


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("127.0.0.1:{port}", "no connection: .*refused"),
        ("nowhere", "is neither auto nor host:port"),
        ("127.0.0.1:70000", "no connection"),
    ],
)
def test_an_address_without_a_cluster_is_refused_and_nothing_is_written(
    make_space: Callable[..., SearchSpace],
    folder: RunFolder,
    closed_port: int,
    address: str,
    sentence: str,
):
    address = address.format(port=closed_port)
    began = time.monotonic()
    with pytest.raises(InputError, match=f"address: .*{sentence}"):
        run_search(make_space(), folder, address=address, on_event=lambda event: None)
    assert time.monotonic() - began < 5
    assert list(folder.path.iterdir()) == []


@pytest.fixture
def guarded_head(closed_port: int) -> Iterator[str]:
    """The address of a head that wants a token."""
    ray = Path(sys.executable).parent / "ray"
    command = [ray, "start", "--head", "--block", "--include-dashboard=false"]
    head = subprocess.Popen(
        [*map(str, command), f"--port={closed_port}", "--num-cpus=1"],
        env=os.environ | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "only-the-head-knows"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(120):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", closed_port)) == 0:
                    break
            time.sleep(0.5)
        yield f"127.0.0.1:{closed_port}"
    finally:
        head.terminate()
        head.wait(60)


@pytest.mark.slow
@pytest.mark.parametrize("other", [False, True], ids=["no token", "another"])
def test_a_cluster_that_wants_a_token_is_named_in_one_line(
    guarded_head: str,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    other: bool,
):
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    if other:
        monkeypatch.setenv("RAY_AUTH_TOKEN", "of-another-cluster")
    with (
        pytest.raises(InputError, match=r"address: .*wants an authentication token"),
        joining.connected(guarded_head, modules=()),
    ):
        pass
    assert capfd.readouterr().err == ""


@pytest.mark.slow
def test_a_cluster_that_wants_a_token_gets_that_of_this_machine(
    guarded_head: str,
):
    program = f"""
import os, ray
from trp_search.search import joining
with joining.connected({guarded_head!r}, modules=()):
    print(ray.cluster_resources()["CPU"])
print("RAY_AUTH_MODE" in os.environ)
"""
    env = {name: value for name, value in os.environ.items() if name != "RAY_AUTH_MODE"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=env | {"RAY_AUTH_TOKEN": "only-the-head-knows"},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert (done.stdout.split(), done.returncode) == (["1.0", "False"], 0), done.stderr


def test_a_users_modules_are_found_as_files_and_as_packages(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(MODULES / "theirs"))
    workload = Workload(
        network=NetworkSpec(name="their_network:build"), data=DataSpec(name="their_images:load")
    )
    assert user_modules(workload) == (
        MODULES / "theirs" / "their_network",
        MODULES / "theirs" / "their_images.py",
    )


def test_built_in_and_installed_modules_are_not_sent():
    workload = Workload(
        network=NetworkSpec(name="torchvision.models:resnet18"), data=DataSpec(name="digits")
    )
    assert user_modules(workload) == ()


def test_a_search_that_joins_makes_the_token_its_owner_s_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    token = tmp_path / "auth_token"
    token.write_text("secret")
    token.chmod(0o644)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
    monkeypatch.setattr(joining, "_refusal", lambda address: f"{address}: nobody is there")
    with pytest.raises(InputError, match="nobody is there"), joining.connected("auto", modules=()):
        pass
    assert token.stat().st_mode & 0o777 == 0o600
