"""Tries everything that a trial does with a network, on two images of noise.

It runs on the CPU and leaves no trace: generators are restored, and nothing is kept on disk.
"""

from __future__ import annotations

import copy
import dataclasses
import itertools
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from trp_search.errors import InputError, one_line
from trp_search.lowrank.placing import check_runs
from trp_search.lowrank.rebuild import rebuild
from trp_search.lowrank.schemes import SCHEMES
from trp_search.methods import METHODS
from trp_search.progress import doing, heard
from trp_search.records import TIMED, Cut, Layer, QuantizerName, Speedup, TrialSpec, Workload
from trp_search.runs.answers import check_answers
from trp_search.runtimes.fold import fold_batch_norm
from trp_search.runtimes.quantizer import calibrated, quantizer
from trp_search.scoring.flops import count
from trp_search.scoring.survey import at_best, widest_layers
from trp_search.space import SearchSpace, any_trial, entries
from trp_search.tasks import task_of
from trp_search.tasks.modes import evaluating
from trp_search.tasks.task import DivergedError
from trp_search.training.checkpoint import load_tensors, save_weights
from trp_search.training.hook import Beginning
from trp_search.training.loop import Job, train
from trp_search.workloads import data, networks
from trp_search.workloads.callables import theirs
from trp_search.workloads.data import Shape, Train, Validation
from trp_search.workloads.guard import SECONDS
from trp_search.workloads.images import HeldImages, Normalisation
from trp_search.workloads.seeds import seeded

_IMAGES = 2  # what batch norm wants at least
_RATE = 1e-8  # a step that is taken and changes next to nothing
_SAME = 1e-3  # relative, of answers in single precision


def baseline_network(workload: Workload, *, seconds: float = SECONDS) -> tuple[nn.Module, Shape]:
    """The network with its weights from a file, or any, and the shape of the data.

    Args:
        workload: the names of both.
        seconds: time limit of each of the user's callables.

    Raises:
        InputError: one of them cannot be made, or the workload's weights are not the network's.
    """
    looking = doing("looking at the data")
    with looking, theirs(workload.data.name, where="workload.data", seconds=seconds):
        shape = data.describe(workload.data)
    with (
        doing("building the network"),
        _theirs(workload, seconds),
        torch.random.fork_rng(devices=[]),
    ):
        network = _built(workload, shape)
        networks.check_weights(network, workload, shape)
        return network, shape


def probe_(
    space: SearchSpace,
    network: nn.Module,
    shape: Shape,
    *,
    wanted: Cut | None = None,
    seconds: float = SECONDS,
) -> None:
    """Trains `network` for one step, counts, cuts, stores and loads it, as a trial does.

    Layers are cut to rank 1 without their spectra, which takes no time.

    Args:
        space: the search space.
        network: as the space builds it; its weights are useless afterwards.
        shape: of one image of the data.
        wanted: the one cut to make, in place of those of a search.
        seconds: time limit of all of it, if the network is the user's own.

    Raises:
        InputError: the first failure, in one line.
    """
    where = _where(space.workload)
    with (
        doing("trying the network with a training step and a cut"),
        heard(None),
        _theirs(space.workload, seconds),
        evaluating(network),
        torch.random.fork_rng(devices=[]),
        tempfile.TemporaryDirectory() as folder,
    ):
        if next(network.parameters(), None) is None:
            raise InputError(f"{where}: has no parameters: there is nothing to train or to cut")
        job = _job(space, shape, Path(folder))
        images, _ = next(job.validation.batches(_IMAGES))
        check_answers(network.eval(), images, space.workload, classes=shape.classes)
        with _doing(where, "counting its multiply-adds"):
            count(network, images[:1])
        with _doing(where, "cutting it"):
            layers = _layers(space, network, images[:1], wanted)
        with _doing(where, f"a training step on a batch of {job.training.batch_size}"):
            try:
                _train(network, job)
            except Exception:  # where it is the answer, that says more
                check_answers(network.train(), images, space.workload, classes=shape.classes)
                raise
        with _doing(where, "preparing its methods"):
            _check_methods(space, network, images[:1], wanted)
        again = _built(space.workload, shape)
        with _doing(where, "copying it"):
            if wanted is None and _starts_from_baseline(space):
                copy.deepcopy(again)
        with _doing(where, "cutting, storing and loading it"):
            _check_stored(network, again, layers, images[:1], Path(folder))
        if wanted is None and space.quantizer is not None:
            with _doing(where, "quantising it"):
                _check_quantised(again, space.quantizer, images, Path(folder))


def _where(workload: Workload) -> str:
    return f"workload.network: {workload.network.name}"


def _theirs(workload: Workload, seconds: float) -> AbstractContextManager[None]:
    return theirs(workload.network.name, where="workload.network", seconds=seconds)


def _built(workload: Workload, shape: Shape) -> nn.Module:
    return networks.build(workload.network, channels=shape.channels, classes=shape.classes)


@contextmanager
def _doing(where: str, what: str) -> Iterator[None]:
    """Puts any failure of the block into one line."""
    try:
        yield
    except InputError as error:
        known = str(error).startswith(where)
        raise InputError(str(error) if known else f"{where}: {error}") from None
    except Exception as error:
        raise InputError(f"{where}: {what} raised {one_line(error)}") from error


def _job(space: SearchSpace, shape: Shape, folder: Path) -> Job:
    """An epoch of one batch, of noise."""
    size = (_IMAGES, shape.channels, shape.height, shape.width)
    pixels = torch.randint(256, size, generator=seeded("probe"), dtype=torch.uint8)
    rows = torch.arange(_IMAGES)
    unit = Normalisation(mean=(0.5,) * shape.channels, std=(0.25,) * shape.channels)
    held = HeldImages(pixels, rows % shape.classes, rows, normalisation=unit, mirror=False)
    return Job(
        name="probe",
        task=task_of(space.workload),
        train=Train(images=held, rows=rows, augment=False),
        validation=Validation(images=held, rows=rows),
        training=dataclasses.replace(
            space.training,
            epochs=1,
            batch_size=min(_IMAGES, *itertools.chain(*space.batch_sizes.values())),
            learning_rate=_RATE,
            precision="float32",
            compile=False,
        ),
        teacher=None,
        checkpoint=folder / "checkpoint.safetensors",
        seed=0,
        device="cpu",
    )


def _layers(
    space: SearchSpace, network: nn.Module, image: Tensor, wanted: Cut | None
) -> list[Layer]:
    """Every layer at rank 1 by the first scheme that finds any to cut; none where none is asked."""
    asked = space.space.schemes if wanted is None else (wanted.scheme,)
    schemes = [s for s in SCHEMES if s in asked or "per-layer" in asked]
    kind = widest_layers(space) if wanted is None else wanted.layers
    layers: list[Layer] = []
    for scheme in schemes:
        layers = at_best(network, image, SCHEMES[scheme], layers=kind)
        if any(layer.rank for layer in layers):
            return layers
    other = wanted is not None or any(
        (cut := any_trial(space, {"method": method}).cuts[0]).solved or cut.importance
        for method in space.space.methods
    )
    if not other:
        reasons = "; ".join(dict.fromkeys(layer.reason or "" for layer in layers))
        raise InputError(f"has nothing to cut ({reasons or 'no convolution and no linear layer'})")
    return layers


def _train(network: nn.Module, job: Job) -> None:
    try:
        for _ in train(network, job):
            pass
    except DivergedError:
        raise InputError("its loss is not finite, with initial weights and noise images") from None


def _check_methods(
    space: SearchSpace, network: nn.Module, image: Tensor, wanted: Cut | None
) -> None:
    """Raises InputError where a method has no weight to train towards low rank."""
    for method in () if wanted is not None else space.space.methods:
        spec = _untimed(any_trial(space, {"method": method}))
        begun = Beginning(
            network=network, spec=spec, example_input=image, samples=lambda _: [image]
        )
        METHODS[method].hook(begun)


def _untimed(spec: TrialSpec) -> TrialSpec:
    """The trial without a time budget, for which nothing is measured yet."""
    if spec.pruning is None or spec.pruning.keep.key() not in TIMED:
        return spec
    return dataclasses.replace(spec, pruning=dataclasses.replace(spec.pruning, keep=Speedup(1.0)))


def _starts_from_baseline(space: SearchSpace) -> bool:
    starts = entries.values(space.space.named()["start"])
    return "baseline" in starts or not all(METHODS[m].trains for m in space.space.methods)


def _check_stored(
    network: nn.Module,
    again: nn.Module,
    layers: Sequence[Layer],
    image: Tensor,
    folder: Path,
) -> None:
    """Cuts `network`, stores it and loads it into `again`, built anew."""
    small = copy.deepcopy(network)
    rebuild(small, layers)
    check_runs(small, image)
    path = folder / "weights.safetensors"
    save_weights(path, small)
    rebuild(again, layers)
    load_tensors(again, path)
    if not torch.allclose(_answer(small, image), _answer(again, image), rtol=_SAME, atol=_SAME):
        raise InputError(
            "returns other outputs once its weights are stored and loaded: something that it "
            "computes with is neither a parameter nor a buffer"
        )


def _check_quantised(
    network: nn.Module, runtime: QuantizerName, images: Tensor, folder: Path
) -> None:
    quantizer(runtime).check()
    folded, _ = fold_batch_norm(network, images)
    calibrated(runtime, folded, [images], folder)


@torch.no_grad()
def _answer(network: nn.Module, image: Tensor) -> Tensor:
    torch.manual_seed(0)  # for networks that draw in evaluation mode too
    found: Tensor = network.eval()(image)
    return found
