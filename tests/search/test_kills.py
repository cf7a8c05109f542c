"""One search, killed again and again, against the same trainings never interrupted."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from tests.search.outcome import states, study_of, untimed
from trp_search.records import NetworkSpec
from trp_search.runs import trial
from trp_search.space import load_space
from trp_search.store import RunFolder

DOOMED = Path(__file__).parent / "modules" / "doomed.py"
TEXT = """\
workload:
  network: {{name: "doomed:build", options: {{marks: {marks}}}}}
  data: {{name: digits, subset: 200}}
training: {{epochs: 2, batch_size: 64}}
space:
  start: [baseline, scratch]
  energy: {{low: 0.6, high: 0.99}}
  training: {{epochs: 2}}
trials: {trials}
extra_cuts: {{speedups: [2], energies: []}}
"""
MOMENTS = (
    "in the middle of writing a checkpoint",
    "between asking and drawing",
    "between recording a point and telling Optuna",
    "between a result on disk and its arrival",
)
TRIALS = 8
ON_LINUX = pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="reads /proc")


@pytest.fixture(scope="module")
def survivor(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A finished search that was killed at each moment."""
    place = tmp_path_factory.mktemp("doomed")
    (place / "space.yaml").write_text(TEXT.format(marks=place, trials=TRIALS))
    folder = RunFolder.create(place / "run")
    chance = np.random.default_rng(5)
    for moment in MOMENTS:
        asked = len(study_of(folder)) if folder.study.exists() else 0
        number = min(asked + int(chance.integers(2)), TRIALS - 1)
        code, errors = start(folder, moment, number=number)
        assert code == -signal.SIGKILL, errors
    code, errors = start(folder, "between two test scores", number=0)
    assert (code, len(folder.read_tests())) == (-signal.SIGKILL, 1), errors
    code, errors = start(folder, "never", number=0)
    assert code == 0, errors
    return folder


def start(folder: RunFolder, moment: str, *, number: int) -> tuple[int, str]:
    place = folder.path.parent
    arguments = [folder.path, place / "space.yaml", place, moment, number]
    errors = place / "errors.txt"  # Ray's agents outlive a killed driver and hold its pipes
    with errors.open("w") as file:
        done = subprocess.run(
            [sys.executable, str(DOOMED), *map(str, arguments)],
            env=os.environ | {"PYTHONPATH": os.pathsep.join([str(DOOMED.parent), *sys.path])},
            stdout=subprocess.DEVNULL,
            stderr=file,
            timeout=300,
            check=False,
        )
    return done.returncode, errors.read_text()


DISTURBANCES = {
    "the worker": "ray::ResourceTrainable",
    "the raylet": "raylet/raylet",
    "the GCS": "gcs_server",
    "SIGINT": None,
    "an agent": "ray::RuntimeEnvAgent",
    "SIGTERM": None,
}
AGAIN = "python -m trp_search resume run"
SAID = {
    "the raylet": rf"run: a process of Ray died \(raylet\); resume with {AGAIN}",
    "the GCS": rf"run: a process of Ray died \(GCS\); resume with {AGAIN}",
    "an agent": rf"run: (Ray ended it|a process of Ray died)[^\n]*; resume with {AGAIN}",
    "SIGINT": f"stopped; resume with {AGAIN}",
    "SIGTERM": f"stopped by SIGTERM; resume with {AGAIN}",
}


@dataclasses.dataclass(kw_only=True)
class Command:
    """`trp-search` in a folder, whose Ray keeps its own files in another."""

    place: Path
    temporary: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self, *words: str) -> None:
        with self.errors().open("w") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "trp_search", *words],
                cwd=self.place,
                env=os.environ | {"RAY_TMPDIR": str(self.temporary), "HOME": str(self.place)},
                stdout=subprocess.DEVNULL,
                stderr=file,
            )

    def errors(self) -> Path:
        return self.place / "errors.txt"

    def epochs(self) -> int:
        files = self.place.glob("run/trials/*/epochs.jsonl")
        return sum(file.read_bytes().count(b"\n") for file in files)

    def trained(self, epochs: int) -> None:
        """Waits for some more epochs."""
        wanted = self.epochs() + epochs
        deadline = time.monotonic() + 300
        while self.epochs() < wanted:
            assert self.process.poll() is None, self.errors().read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def disturb(self, what: str) -> None:
        sign = DISTURBANCES[what]
        if sign:
            os.kill(self.found(sign), signal.SIGKILL)
        else:
            self.process.send_signal(signal.Signals[what])

    def found(self, sign: str) -> int:
        """A process of the search with this in its command line, once there is one."""
        deadline = time.monotonic() + 60
        while True:
            for pid in processes(self.process.pid):
                if sign in command_line(pid):
                    return pid
            assert self.process.poll() is None, self.errors().read_text()
            assert time.monotonic() < deadline, sign
            time.sleep(0.02)

    def ended(self) -> tuple[int, str]:
        code = self.process.wait(timeout=300)
        return code, self.errors().read_text()

    def page_is_running(self) -> bool:
        page = self.place / "run" / "report.html"
        return page.exists() and '"running": true' in page.read_text()


def processes(root: int) -> list[int]:
    """A process and all that it started, directly or not."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            stat = (entry / "stat").read_text()
            parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    found = [root]
    for one in found:
        found += [pid for pid, parent in parents.items() if parent == one]
    return found


def command_line(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text()
    return ""


def listening(pids: list[int]) -> list[str]:
    """Where the processes listen, in the kernel's own spelling: address and port."""
    at = {}
    for table in ("tcp", "tcp6"):
        for row in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *_, inode = row.split()[:10]
            if state == "0A":
                at[f"socket:[{inode}]"] = local
    found = []
    for pid in pids:
        with suppress(OSError):
            for descriptor in Path(f"/proc/{pid}/fd").iterdir():
                with suppress(OSError):
                    found.append(at.get(str(descriptor.readlink())))
    return [address for address in found if address]


@pytest.fixture(scope="module")
def watched_command(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    place = tmp_path_factory.mktemp("disturbed")
    with tempfile.TemporaryDirectory(prefix="k-", dir="/tmp") as temporary:
        yield Command(place=place, temporary=Path(temporary))


@pytest.fixture(scope="module")
def doors(watched_command: Command) -> list[str]:
    """Where a search listened that was then disturbed in each way, and went on each time."""
    command = watched_command
    text = TEXT.replace('"doomed:build", options: {{marks: {marks}}}', "small_resnet")
    text = text.format(trials=4).replace("training: {epochs: 2}", "training: {epochs: 8}")
    (command.place / "space.yaml").write_text(text + "concurrency: 1\n")
    chance = np.random.default_rng(7)
    found = []
    command.start("search", "space.yaml", "--out", "run")
    for what in DISTURBANCES:
        command.trained(int(chance.integers(1, 3)))
        time.sleep(chance.uniform(0, 0.2))  # anywhere in an epoch
        found += listening(processes(command.process.pid))
        command.disturb(what)
        if what == "the worker":
            continue  # Ray starts another
        code, errors = command.ended()
        assert code == (130 if what == "SIGINT" else 1), (what, errors)
        assert re.fullmatch(rf"trp-search: {SAID[what]}\n", errors), errors
        assert not command.page_is_running()
        assert not list(command.temporary.iterdir()), what
        command.start("resume", "run")
    code, errors = command.ended()
    assert (code, errors) == (0, "")
    return found


@pytest.fixture
def disturbed(doors: list[str], watched_command: Command) -> RunFolder:
    """A finished search of which each process was killed and that was stopped by each signal."""
    return RunFolder.open(watched_command.place / "run")


@pytest.fixture(params=["survivor", pytest.param("disturbed", marks=ON_LINUX)])
def finished(request: pytest.FixtureRequest) -> RunFolder:
    return request.getfixturevalue(request.param)


@ON_LINUX
@pytest.mark.slow
def test_a_search_on_one_machine_listens_on_loopback_alone(doors: list[str]):
    assert len(doors) > len(DISTURBANCES)
    loopback = ("0100007F", "0" * 16 + "FFFF00000100007F", "0" * 24 + "01000000")
    assert {door.partition(":")[0] for door in doors} <= set(loopback)


@ON_LINUX
@pytest.mark.slow
def test_a_search_on_one_machine_leaves_no_token_and_no_files_of_ray(
    doors: list[str], watched_command: Command
):
    assert not (watched_command.place / ".ray").exists()
    assert not list(watched_command.temporary.iterdir())


@pytest.mark.slow
def test_no_trial_is_lost_repeated_or_left_running(finished: RunFolder):
    trials = load_space(finished.search).trials
    assert states(finished).split() == ["COMPLETE"] * trials
    names = [str(number) for number in range(trials)]
    assert finished.trial_names() == ["baseline", *names]
    written = [line.split('"')[3] for line in finished.points.read_text().splitlines()]
    assert len(written) == len(set(written))
    assert set(names) <= set(written)


@pytest.mark.slow
def test_every_trial_equals_one_that_was_never_interrupted(finished: RunFolder, tmp_path: Path):
    here = RunFolder.create(tmp_path / "direct")
    shutil.copytree(finished.trial("baseline").path, here.trial("baseline").path)
    here.trial("baseline").result.unlink()
    values = {optuna_trial.number: optuna_trial.values for optuna_trial in study_of(finished)}
    for name in finished.trial_names():
        spec = finished.trial(name).read_spec()
        plain = dataclasses.replace(spec.workload, network=NetworkSpec(name="small_resnet"))
        *_, direct = trial.run(dataclasses.replace(spec, workload=plain), here)
        assert untimed(direct) == untimed(finished.trial(name).read_result())
        if name != "baseline":
            (point,) = (found for found in direct.points if found.role == "trial")
            assert values[int(name)] == [point.score.value, point.speedup]


@pytest.mark.slow
def test_the_front_is_scored_on_test_and_no_point_twice(finished: RunFolder):
    scored = [json.loads(line)["point"] for line in finished.tests.read_text().splitlines()]
    rows = finished.front.read_text().splitlines()[1:]
    assert sorted(scored) == sorted(["baseline", *(row.partition(",")[0] for row in rows)])


@pytest.mark.slow
def test_nothing_half_written_is_left(finished: RunFolder):
    assert not list(finished.path.rglob("*.tmp"))
    assert not (finished.path / ".ray").exists()
