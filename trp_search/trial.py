"""One trial, from its specification to its points. It knows no scheduler."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Generator, Iterator

import torch
from torch import nn

from trp_search.errors import InputError
from trp_search.evaluation import DivergedError, evaluate, threads
from trp_search.lowrank.rebuild import rebuild
from trp_search.records import (
    Cut,
    EpochReport,
    Point,
    Role,
    TestScore,
    Training,
    TrialResult,
    TrialSpec,
    to_json,
)
from trp_search.scoring.candidate import Cost, RefusedError, Scored, cost_of, score_cut, score_uncut
from trp_search.store import RunFolder, TrialFolder, append_record, exclusive, write_whole
from trp_search.training.checkpoint import load_tensors, save_weights
from trp_search.training.loop import Job, train
from trp_search.workloads import data, networks


def run(spec: TrialSpec, folder: RunFolder) -> Iterator[EpochReport | TrialResult]:
    """Trains and scores; yields a report per epoch and, last, the result.

    Everything is kept under the trial's folder: a trial that was killed goes on from its last
    checkpoint, a finished one yields its result at once. What goes wrong inside is a result too.
    """
    place = folder.trial(spec.name)
    result = place.read_result()
    if result is None:
        write_whole(place.spec, to_json(spec))
        with threads(spec.threads):
            result = yield from _attempt(spec, folder, place)
        write_whole(place.result, to_json(result))
        place.checkpoint.unlink(missing_ok=True)
    yield result


def _attempt(
    spec: TrialSpec, folder: RunFolder, place: TrialFolder
) -> Generator[EpochReport, None, TrialResult]:
    try:
        return (yield from _train_and_score(spec, folder, place))
    except DivergedError as error:
        return TrialResult(trial=spec.name, points=(), diverged=str(error))
    except (InputError, RefusedError) as error:
        return TrialResult(trial=spec.name, points=(), failed=" ".join(str(error).split()))
    except Exception as error:  # noqa: BLE001  a trial's crash is its result, not the search's end
        reason = " ".join(str(error).split())[:500]
        return TrialResult(trial=spec.name, points=(), failed=f"{type(error).__name__}: {reason}")


def _train_and_score(
    spec: TrialSpec, folder: RunFolder, place: TrialFolder
) -> Generator[EpochReport, None, TrialResult]:
    splits = _splits(spec)
    _keep_split(splits, spec, folder)
    network = _start(spec, folder)
    dense = cost_of(network, splits)
    if spec.training is not None:
        for report in train(network, _job(spec, spec.training, place, splits)):
            append_record(place.epochs, report)
            yield report
    seconds = sum(report.seconds for report in place.read_epochs())
    save_weights(place.weights, network)
    points = []
    if spec.score_uncut:
        points.append(_point(spec, None, score_uncut(network, splits), dense, seconds))
    for cut in spec.cuts:
        scored = score_cut(network, cut, splits)
        point = _point(spec, cut, scored, dense, seconds)
        save_weights(place.point_weights(point.id), scored.network)
        points.append(point)
    return TrialResult(trial=spec.name, points=tuple(points), seconds=seconds)


def _keep_split(splits: data.Splits, spec: TrialSpec, folder: RunFolder) -> None:
    """Writes down which image is in which part; a later trial must find the same."""
    indices = splits.indices()
    if not folder.split.exists():
        write_whole(folder.split, json.dumps(indices))
    kept = json.loads(folder.split.read_bytes())
    if not spec.fit_on_validation and kept != indices:
        raise InputError(f"{folder.split}: the images, or their split, changed since the run began")


def score_test(folder: RunFolder, point_id: str) -> TestScore:
    """The point's accuracy on the test split; measured once, then read from the run folder.

    Raises:
        InputError: no such point, or its weights are gone.
    """
    found = folder.read_tests().get(point_id)
    if found is not None:
        return found
    point = folder.point(point_id)
    spec = on_this_machine(folder.trial(point.trial).read_spec())
    with threads(spec.threads):
        network = network_of(folder, point_id).to(spec.device)
        splits = _splits(spec)
        _keep_split(splits, spec, folder)
        result = evaluate(network, splits.test.batches(_EVALUATION_BATCH))
    score = TestScore(
        point=point_id, accuracy=result.accuracy, correct=result.correct, images=result.images
    )
    with exclusive(folder.path / ".test.lock", wait_seconds=60.0, holder="test scores are in use"):
        append_record(folder.tests, score)
    return score


def network_of(folder: RunFolder, point_id: str, *, network: nn.Module | None = None) -> nn.Module:
    """The network of a point, with its weights, on the CPU and in evaluation mode.

    Args:
        folder: the run.
        point_id: one of its points.
        network: the dense network, changed in place; built from the run's workload by default.

    Raises:
        InputError: no such point, or its weights are missing or do not fit.
    """
    point = folder.point(point_id)
    place = folder.trial(point.trial)
    if network is None:
        network = _build(place.read_spec())
    rebuild(network, point.layers)
    path = place.weights if point.cut is None else place.point_weights(point_id)
    load_tensors(network, path)
    return network.eval()


def on_this_machine(spec: TrialSpec) -> TrialSpec:
    """The specification on a device that this machine has."""
    if spec.device == "cuda" and not torch.cuda.is_available():
        return dataclasses.replace(spec, device="cpu")
    return spec


_EVALUATION_BATCH = 256


def _splits(spec: TrialSpec) -> data.Splits:
    workload = spec.workload
    splits = data.load(
        workload.data,
        split_seed=spec.split_seed,
        outside_weights=workload.weights is not None,
        device=spec.device,
    )
    if not spec.fit_on_validation:
        return splits
    return dataclasses.replace(splits, train=splits.train_and_validation())


def _build(spec: TrialSpec) -> nn.Module:
    shape = data.describe(spec.workload.data)
    torch.manual_seed(spec.seed)
    return networks.build(spec.workload.network, channels=shape.channels, classes=shape.classes)


def _start(spec: TrialSpec, folder: RunFolder) -> nn.Module:
    """The network that the trial begins with, on its device."""
    network = _build(spec)
    if spec.start == "baseline":
        load_tensors(network, folder.trial(spec.baseline).weights)
    elif spec.workload.weights is not None and spec.training is None:
        networks.load_weights(network, spec.workload.weights, spec=spec.workload.network)
    return network.to(spec.device)


def _job(spec: TrialSpec, training: Training, place: TrialFolder, splits: data.Splits) -> Job:
    return Job(
        name=spec.name,
        train=splits.train,
        validation=splits.validation,
        training=training,
        pruning=spec.pruning,
        checkpoint=place.checkpoint,
        seed=spec.seed,
        device=spec.device,
    )


def _point(spec: TrialSpec, cut: Cut | None, scored: Scored, dense: Cost, seconds: float) -> Point:
    found = scored.validation
    name, role = _identity(spec, cut)
    return Point(
        id=name,
        trial=spec.name,
        role=role,
        accuracy=found.accuracy,
        correct=found.correct,
        images=found.images,
        loss=found.loss,
        macs=scored.cost.macs,
        dense_macs=dense.macs,
        parameters=scored.cost.parameters,
        dense_parameters=dense.parameters,
        scheme=None if cut is None else cut.scheme,
        cut=cut,
        settings=_settings(spec, cut),
        layers=scored.layers,
        batch_norm=scored.batch_norm,
        seconds=seconds,
    )


def _identity(spec: TrialSpec, cut: Cut | None) -> tuple[str, Role]:
    """A point's id and role."""
    if spec.fit_on_validation:
        return spec.name, "refit"
    if spec.pruning is not None:
        return spec.name, "trial"
    if cut is None:
        return spec.name, "baseline"
    amount = cut.energy if cut.energy is not None else f"value-{cut.value}"
    return f"plain-{cut.scheme}-{amount}", "control"


def _settings(spec: TrialSpec, cut: Cut | None) -> dict[str, float | int | str | bool | None]:
    """What the trial was set to, flat, for people."""
    found: dict[str, float | int | str | bool | None] = {"start": spec.start, "seed": spec.seed}
    for part in (spec.pruning, spec.training):
        if part is not None:
            values = {f.name: getattr(part, f.name) for f in dataclasses.fields(part)}
            found |= {k: v for k, v in values.items() if not isinstance(v, tuple)}
    if spec.pruning is not None and spec.pruning.period is None:
        found["period"] = "never"
    if cut is not None:
        found |= {"scheme": cut.scheme, "cut_energy": cut.energy, "cut_value": cut.value}
    return found
