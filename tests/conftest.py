"""Run folders that any test can open: written through the records, without training."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

# Before torch is there: where processes share the cores, a second thread waits more than it works.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from beartype import BeartypeConf, FrozenDict, beartype
from beartype.claw import beartype_package
from beartype.claw._ast import _clawaststar
from torch import Tensor
from torch.fx import Proxy

# The functions of the package check the types of arguments and results, but for modules that import
# types for mypy alone, and Ray's actor, whose signature Ray changes.
_SOURCES = (Path(__file__).parents[1] / "trp_search").glob("*/*.py")
_UNCHECKED = [path for path in _SOURCES if "TYPE_CHECKING" in path.read_text()]
_TYPES = BeartypeConf(
    claw_skip_package_names=(
        "trp_search.search.trainable",
        *(f"trp_search.{path.parent.name}.{path.stem}" for path in _UNCHECKED),
    ),
    hint_overrides=FrozenDict({Tensor: Tensor | Proxy}),
    violation_type=TypeError,
)


def _checked(*, conf: BeartypeConf) -> Callable[[Any], Any]:
    """Leaves functions inside of others alone, whose checks would be compiled at each call."""
    check = beartype(conf=conf)
    return lambda thing: thing if "<locals>" in thing.__qualname__ else check(thing)


_clawaststar.__beartype__ = _checked  # what the hook writes above each definition
beartype_package("trp_search", conf=_TYPES)  # before it is imported

from trp_search.records import (
    Cut,
    DataSpec,
    Energy,
    EpochReport,
    Int8,
    Latency,
    Layer,
    NetworkSpec,
    Point,
    QuantizerName,
    Role,
    Scheme,
    Target,
    TestScore,
    Training,
    TrialResult,
    TrialSpec,
    Workload,
    int8_name,
    to_json,
)
from trp_search.records.scores import share
from trp_search.space import load_space
from trp_search.store import FORMAT, RunFolder, append_record, write_whole

SEARCH = """\
workload:
  network: small_resnet
  data: digits
training: {epochs: 12, batch_size: 64, learning_rate: 0.1}
space:
  start: [baseline, scratch]
  scheme: [channel, spatial]
  energy: {low: 0.7, high: 0.99}
  period: [5, 20, never]
  nuclear_weight: {low: 1.0e-6, high: 1.0e-3, log: true}
  training: {epochs: 4}
constraints: {accuracy: 0.5}
trials: 18
"""
WIDTHS = (16, 16, 16, 32, 32, 32, 64, 64)
DENSE_MACS = 2_000_000
DENSE_PARAMETERS = 71_000
DENSE_BYTES = 290_000
IMAGES = 200


LONGEST = ("search/test_kills.py", "search/test_driver.py", "test_readme.py", "cli", "runs")

# On a busy machine a command of a second gets a line of progress after five.
os.environ["TRP_SEARCH_PROGRESS"] = "off"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, so that the processes that share the tests end together."""
    tests = Path(__file__).parent

    def place(item: pytest.Item) -> int:
        name = item.path.relative_to(tests).as_posix()
        return next((at for at, long in enumerate(LONGEST) if name.startswith(long)), len(LONGEST))

    items.sort(key=place)


@pytest.fixture(scope="session", autouse=True)
def _children_may_be_stopped() -> Iterator[None]:
    """What `nohup` and a shell's `&` ignore would be ignored by the tests' commands as well."""
    # A handler of this process is none of its children's.
    handlers = {signal.SIGHUP: lambda *_: None, signal.SIGINT: signal.default_int_handler}
    ignored = [number for number in handlers if signal.getsignal(number) is signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, handlers[number])
    yield
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)


def make_layers(energy: float, scheme: Scheme | None) -> tuple[Layer, ...]:
    """A first layer that stays dense, then ranks that fall with the energy."""
    layers = []
    for index, width in enumerate(WIDTHS):
        rank = max(1, round(width * energy**4 * (1 - 0.05 * index)))
        cut = scheme is not None and index > 0
        layers.append(
            Layer(
                name="stem" if index == 0 else f"stages.{index // 3}.conv{index}",
                scheme=scheme if cut else None,
                rank=rank if cut else None,
                full_rank=width if cut else None,
                macs=DENSE_MACS // 8 * rank // width if cut else DENSE_MACS // 8,
                dense_macs=DENSE_MACS // 8,
                parameters=100 * rank,
                dense_parameters=100 * width,
                reason=None if cut else "factoring would not save multiply-adds",
                spectrum=tuple(0.8**place for place in range(min(width, 32))) if cut else (),
            )
        )
    return tuple(layers)


@pytest.fixture(scope="session")
def make_point() -> Callable[..., Point]:
    """A point of made-up size; `correct` of 200 images."""

    def make(
        name: str,
        *,
        correct: int,
        speedup: float,
        role: Role = "trial",
        scheme: Scheme | None = "channel",
        energy: float = 0.9,
        parameters: int | None = None,
        settings: dict[str, float | int | str | bool | None] | None = None,
    ) -> Point:
        return Point(
            id=name,
            trial="baseline" if role == "control" else name,
            role=role,
            score=share(correct, IMAGES),
            loss=1 - correct / IMAGES,
            macs=round(DENSE_MACS / speedup),
            dense_macs=DENSE_MACS,
            parameters=parameters or round(DENSE_PARAMETERS / speedup),
            dense_parameters=DENSE_PARAMETERS,
            bytes=round(DENSE_BYTES / speedup),
            dense_bytes=DENSE_BYTES,
            scheme=scheme,
            cut=Cut(scheme=scheme, keep=Energy(energy)) if scheme else None,
            settings=settings or {},
            layers=make_layers(energy, scheme),
            batch_norm="re-estimated on 1,024 training images",
            seconds=4.5,
        )

    return make


@pytest.fixture(scope="session")
def in_int8() -> Callable[..., Point]:
    """A point as `quantize` makes it, `lost` of its 200 images wrong that were right before."""

    def make(point: Point, *, lost: int = 0, runtime: QuantizerName = "onnxruntime") -> Point:
        return dataclasses.replace(
            point,
            id=int8_name(point.id, runtime),
            role="control" if point.role == "control" else "derived",
            score=share(round(point.score.value * IMAGES) - lost, IMAGES),
            bytes=point.bytes // 4,
            predicted=None,
            int8=Int8(of=point.id, runtime=runtime, images=300, machine="a processor", versions={}),
        )

    return make


@pytest.fixture
def empty_run(tmp_path: Path) -> RunFolder:
    """A run that has a search space and nothing else."""
    run = RunFolder.create(tmp_path / "sample-run")
    write_whole(run.search, SEARCH)
    write_whole(run.environment, json.dumps({"format": FORMAT}))
    return run


@pytest.fixture
def sample_run(empty_run: RunFolder, make_point: Callable[..., Point]) -> RunFolder:
    """A finished search on digits: the baseline, its cuts, 16 points, two trials without."""
    run = empty_run
    created = {"created": "2026-03-04T09:30:00+00:00", "versions": {"torch": "2.15.0"}, "seed": 0}
    write_whole(run.environment, json.dumps({"format": FORMAT} | created))
    plain = make_point("baseline", correct=194, speedup=1.0, role="baseline", scheme=None)
    controls = [
        make_point(
            f"plain-{scheme}-{energy}",
            correct=round(194 - 420 * (1 - energy) ** 1.3),
            speedup=1 + factor * (1 - energy) ** 0.7,
            role="control",
            scheme=scheme,
            energy=energy,
            settings={"cut_energy": energy},
        )
        for scheme, factor in (("channel", 3.2), ("spatial", 3.9))
        for energy in (0.99, 0.97, 0.95, 0.9, 0.85, 0.8, 0.7)
    ]
    finish(run, TrialResult(trial="baseline", points=(plain, *controls)), epochs=12, start=0.3)
    for number in range(18):
        finish(run, _trial(number, make_point), epochs=4, start=0.9 - 0.02 * number)
    for name, correct in (("baseline", 191), ("2", 192), ("7", 190), ("11", 187)):
        append_record(run.tests, TestScore(point=name, score=share(correct, 200)))
    return run


@pytest.fixture
def timed_run(sample_run: RunFolder, make_latency: Callable[..., Latency]) -> RunFolder:
    """The run with two of its points timed on a laptop."""
    for name, low in (("7", 1.4), ("2", 1.2)):
        append_record(sample_run.latencies, make_latency(name, target="laptop", low=low))
    return sample_run


def _trial(number: int, make_point: Callable[..., Point]) -> TrialResult:
    name = str(number)
    if number == 9:
        return TrialResult(trial=name, points=(), diverged="the loss was not finite in epoch 2")
    if number == 13:
        return TrialResult(trial=name, points=(), failed="RuntimeError: out of memory <worker>")
    along = (number * 0.618) % 1
    energy = 0.99 - 0.29 * along
    correct = 196 - round(26 * along**2) - (5 * number) % 7
    point = make_point(
        name,
        correct=20 if number == 4 else correct,
        speedup=1.1 + 2.4 * along**0.8,
        scheme=("channel", "spatial")[number % 2],
        energy=energy,
        settings={
            "start": ("baseline", "scratch")[number % 3 == 0],
            "seed": number,
            "scheme": ("channel", "spatial")[number % 2],
            "energy": energy,
            "period": (5, 20, "never")[number % 3],
            "nuclear_weight": 10 ** (-5 + 3 * ((number * 0.382) % 1)),
            "momentum": 0.9,
            "nesterov": True,
            "cut_energy": energy,
            "cut_value": None,
        },
    )
    return TrialResult(trial=name, points=(point,), seconds=4.5)


def _spec(name: str) -> TrialSpec:
    workload = Workload(network=NetworkSpec(name="small_resnet"), data=DataSpec(name="digits"))
    return TrialSpec(
        kind="baseline" if name == "baseline" else "search",
        name=name,
        number=None if name == "baseline" else int(name),
        seed=0,
        start="scratch",
        workload=workload,
        training=Training(epochs=4),
        pruning=None,
        cuts=(Cut(keep=Energy(0.9)),),
    )


@pytest.fixture(scope="session")
def make_spec() -> Callable[[str], TrialSpec]:
    """What a trial of this name was told, `baseline` or a number."""
    return _spec


def finish(run: RunFolder, result: TrialResult, *, epochs: int, start: float) -> None:
    """Stores a trial as the search does, with a training that rises from `start`."""
    folder = run.trial(result.trial)
    write_whole(folder.spec, to_json(_spec(result.trial)))
    final = result.points[0].score.value if result.points else 0.1
    for epoch in range(1, epochs + 1):
        append_record(
            folder.epochs,
            EpochReport(
                trial=result.trial,
                epoch=epoch,
                epochs=epochs,
                loss=1 / epoch,
                metric=final + (start - final) * (1 - epoch / epochs) ** 2,
                learning_rate=0.1,
                seconds=1.0,
            ),
        )
    write_whole(folder.result, to_json(result))
    for point in result.points:
        append_record(run.points, point)


TRAINED = """\
workload:
  network: {network}
  data: {{name: digits, subset: 300, heldout_subset: 100}}
training: {{epochs: 1, batch_size: 50, learning_rate: 0.05}}
space: {{start: scratch, scheme: spatial, energy: 0.8, period: 2}}
trials: 1
extra_cuts: {{speedups: [2], energies: []}}
"""


@pytest.fixture(scope="session")
def small_run() -> Callable[..., RunFolder]:
    """Trains a run in a second: digits, the points `baseline`, `plain-2x`, `0` and `0-2x`."""
    from trp_search.runs import trial  # noqa: PLC0415  torch, for the tests that train

    def train(folder: Path, network: str = "small_resnet", text: str = TRAINED) -> RunFolder:
        run = RunFolder.create(folder)
        write_whole(run.search, text.format(network=network))
        write_whole(run.environment, json.dumps({"format": FORMAT}))
        space = load_space(run.search)
        with mock.patch("trp_search.space.cuts.CONTROL_ENERGIES", (0.9, 0.7)):
            specs = space.baseline_spec(), space.trial_spec({}, number=0)
        for spec in specs:
            *_, result = trial.run(spec, run)
            assert isinstance(result, TrialResult)
            assert result.points, result
            run.add_points(result.points)
        return run

    return train


@pytest.fixture(scope="session")
def trained_run(
    small_run: Callable[..., RunFolder], tmp_path_factory: pytest.TempPathFactory
) -> RunFolder:
    """That run, for every test that only reads it."""
    return small_run(tmp_path_factory.mktemp("runs") / "small")


@pytest.fixture
def run(trained_run: RunFolder, tmp_path: Path) -> RunFolder:
    """A copy of that run that may be written to."""
    shutil.copytree(trained_run.path, tmp_path / "run")
    return RunFolder.open(tmp_path / "run")


@pytest.fixture(scope="session")
def int8_run(trained_run: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """That run with `baseline-int8` and `0-int8`, for every test that only reads it."""
    from trp_search.runs.quantize import quantize  # noqa: PLC0415  torch, for the tests that export

    place = tmp_path_factory.mktemp("int8") / "small"
    run = RunFolder.open(shutil.copytree(trained_run.path, place))
    points = [run.point(name) for name in ("baseline", "0")]
    assert len(list(quantize(run, points, "onnxruntime"))) == 2
    return run


@pytest.fixture(scope="session")
def bundle(trained_run: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trial's point, exported once for every test that only reads it."""
    from trp_search.export.write import export_point  # noqa: PLC0415  torch

    return export_point(trained_run, "0", tmp_path_factory.mktemp("bundles") / "zero")


@pytest.fixture(scope="module")
def verified_here() -> Iterator[None]:
    """Exported bundles are scored, and their `network.py` run, in this process.

    That both are in fresh ones has its tests.
    """
    from tests.fuzz.process import proven, spawned  # noqa: PLC0415  torch, for the tests that export

    here = mock.Mock(run=proven, TimeoutExpired=subprocess.TimeoutExpired)
    with (
        mock.patch("trp_search.export.write.subprocess", mock.Mock(run=spawned)),
        mock.patch("trp_search.export.alone.subprocess", here),
    ):
        yield


@pytest.fixture
def make_report() -> Callable[..., EpochReport]:
    """What a training says after an epoch."""

    def make(trial: str = "1", epoch: int = 1, **own: float) -> EpochReport:
        usual = {"epochs": 3, "loss": 1.0, "metric": 0.5, "learning_rate": 0.1, "seconds": 1.0}
        return EpochReport(trial=trial, epoch=epoch, **(usual | own))

    return make


@pytest.fixture(scope="session")
def make_latency() -> Callable[..., Latency]:
    """A point's time on a target: for sure `low` times less than the dense network's."""

    def make(point: str, *, target: str, low: float, seconds: float = 0.005) -> Latency:
        return Latency(
            point=point,
            target=Target(name=target, height=8, width=8),
            seconds=seconds,
            dense_seconds=seconds * low * 1.1,
            speedup=low * 1.1,
            low=low,
            high=low * 1.2,
            rounds=20,
            batch_norm="folded",
            machine="a processor",
            versions={},
        )

    return make
