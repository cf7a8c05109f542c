"""Temporary folders of one process: private, removed in the end, swept where it was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from trp_search.store import scratch, sweep_scratch


@pytest.fixture
def base(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A short path, as Ray's sockets need."""
    with tempfile.TemporaryDirectory(prefix="s-", dir="/tmp") as folder:
        monkeypatch.setenv("RAY_TMPDIR", folder)
        yield Path(folder)


def test_only_its_owner_reads_it_and_it_is_gone_after_a_failure_too(base: Path):
    with pytest.raises(ZeroDivisionError), scratch() as folder:
        assert folder.parent == base
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "more").mkdir()
        raise ZeroDivisionError
    assert not list(base.iterdir())


def test_a_folder_that_is_missing_or_has_no_room_is_one_line(base: Path):
    program = """
import resource, sys
from trp_search.errors import InputError
from trp_search.store import scratch
resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, 2**16))
try:
    with scratch(): pass
except InputError as error:
    print(error)
"""
    for folder, why in ((base, "File too large"), (base / "none", "No such file or directory")):
        made = subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"RAY_TMPDIR": str(folder)},
            capture_output=True,
            text=True,
            check=True,
        )
        said = f"{folder}: cannot hold Ray's temporary files: {why}; set RAY_TMPDIR to a folder"
        assert said in made.stdout, made
    assert not list(base.iterdir())


def test_a_killed_process_is_swept_after_and_a_living_one_is_left_alone(base: Path):
    program = "from trp_search.store import scratch\nwith scratch(): print(flush=True); input()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    process = subprocess.Popen([sys.executable, "-c", program], **pipes)
    process.stdout.readline()
    with scratch() as own:
        assert len(list(base.iterdir())) == 2
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        sweep_scratch()
        assert list(base.iterdir()) == [own]


def test_a_folder_that_is_written_to_while_it_is_removed_is_removed_later(
    base: Path, monkeypatch: pytest.MonkeyPatch
):
    own = Path.rmdir

    def late(folder: Path) -> None:
        (folder / "late").mkdir()
        monkeypatch.setattr(Path, "rmdir", own)
        folder.rmdir()

    monkeypatch.setattr(Path, "rmdir", late)
    with scratch() as folder:
        pass
    assert folder.exists()
    assert sweep_scratch()
    assert not list(base.iterdir())


def test_what_others_put_there_is_left_alone(base: Path):
    (base / "trp-ray-mine").mkdir()
    (base / "elsewhere").mkdir()
    (base / "trp-ray-link").symlink_to(base / "elsewhere")
    sweep_scratch()
    assert len(list(base.iterdir())) == 3


def test_a_path_too_long_for_a_socket_is_not_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / "a-long-name"))
    with scratch() as folder:
        assert folder.parent == Path("/tmp")  # noqa: S108  as Ray does
