"""The training loop: a generator of one report per epoch, resumable between epochs."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.linalg import LinAlgError  # type: ignore[attr-defined]

from trp_search import progress
from trp_search.records import EpochReport, Training
from trp_search.tasks.distillation import Teacher
from trp_search.tasks.task import DivergedError, Task, answers
from trp_search.training.checkpoint import Progress, load_checkpoint, save_checkpoint
from trp_search.training.hook import Hook
from trp_search.training.passes import Eager, Passes, Recorded
from trp_search.training.schedule import learning_rate
from trp_search.workloads.data import Train, Validation


@dataclass(frozen=True, kw_only=True)
class Job:
    """Inputs of one training: task, images, settings, checkpoint path and seed.

    `hook` makes the method's hook for the network that trains; `teacher` is on the device.
    """

    name: str
    task: Task
    train: Train
    validation: Validation
    training: Training
    teacher: Teacher | None
    checkpoint: Path
    seed: int
    device: str
    hook: Callable[[nn.Module], Hook] = lambda _: Hook()


Note = Callable[[EpochReport], EpochReport]


def train(
    network: nn.Module, job: Job, *, note: Note = lambda report: report
) -> Iterator[EpochReport]:
    """Trains `network` in place, from its checkpoint when there is one.

    Each report goes through `note` before the checkpoint is written, so every epoch in the
    checkpoint was noted, whenever the training is killed.

    Every random draw is a function of (seed, epoch), so a killed and resumed training gives the
    weights of an uninterrupted one, bit for bit on a CPU.

    Raises:
        DivergedError: the loss or a weight is not finite.
    """
    loop = _Loop(network, job, note)
    while loop.progress.epoch < job.training.epochs:
        yield loop.epoch()
    loop.hook.finish()


class _Loop:
    def __init__(self, network: nn.Module, job: Job, note: Note) -> None:
        settings = job.training
        self.note = note
        layout = torch.channels_last if settings.channels_last else torch.contiguous_format
        self.network = network.to(device=job.device, memory_format=layout)  # type: ignore[call-overload]
        self.job = job
        self.hook = job.hook(network)
        self.trained = _with(network, self.hook.parameters())
        self.optimizer = torch.optim.SGD(
            self.trained.parameters(),
            lr=settings.learning_rate,
            momentum=settings.momentum,
            nesterov=settings.nesterov,
            weight_decay=settings.weight_decay,
            fused=True if job.device == "cuda" else None,
        )
        self._forward = torch.compile(network) if settings.compile else network
        recorded = job.device == "cuda" and self.hook.recordable
        self.passes: Passes = (Recorded if recorded else Eager)(network, self._loss)
        self.progress = Progress()
        if job.checkpoint.exists():
            self.progress = load_checkpoint(job.checkpoint, self.trained, self.optimizer)
        self.hook.continue_from(self.progress.iteration)

    def epoch(self) -> EpochReport:
        """One pass over the training images, scored on validation and saved."""
        with progress.in_epoch(self.progress.epoch + 1, of=self.job.training.epochs):
            return self._epoch()

    def _epoch(self) -> EpochReport:
        job, done = self.job, self.progress
        started = time.perf_counter()
        loss, steps = self._pass(done)
        if loss is None:
            raise DivergedError(f"the loss was not finite in epoch {done.epoch + 1}")
        self.hook.rest()
        result = job.task.evaluate(self.network, job.validation.batches(_EVALUATION_BATCH))
        self.hook.finish()
        seconds = time.perf_counter() - started
        self.progress = Progress(
            epoch=done.epoch + 1,
            iteration=done.iteration + steps,
            seconds=done.seconds + seconds,
        )
        report = self.note(
            EpochReport(
                trial=job.name,
                epoch=self.progress.epoch,
                epochs=job.training.epochs,
                loss=loss,
                metric=result.score.value,
                learning_rate=float(self.optimizer.param_groups[0]["lr"]),
                seconds=seconds,
            )
        )
        save_checkpoint(job.checkpoint, self.trained, self.optimizer, self.progress)
        return report

    def _pass(self, done: Progress) -> tuple[float | None, int]:
        """Mean loss, None when not finite, and the number of steps."""
        job, settings = self.job, self.job.training
        # Seeded per epoch for the network's own draws (dropout); data has its own generator.
        torch.manual_seed(job.seed * 100_003 + done.epoch)
        self.network.train()
        self.hook.before_epoch()
        per_epoch = max(1, len(job.train) // settings.batch_size)
        total: Tensor | None = None
        steps = 0
        over = _Over(job.device)
        progress.tell(progress.TRAINING, total=per_epoch * settings.batch_size, unit="images")
        for images, labels in job.train.batches(
            settings.batch_size, seed=job.seed, epoch=done.epoch
        ):
            rate = learning_rate(settings, (done.epoch + steps / per_epoch) / settings.epochs)
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            loss = self._step(images, labels)
            total = loss if total is None else total + loss
            steps += 1
            progress.tell(
                progress.TRAINING,
                done=over.of(steps) * settings.batch_size,
                total=per_epoch * settings.batch_size,
                unit="images",
            )
        assert total is not None, "no batch of training images"
        mean = total.item() / steps
        return (mean if torch.isfinite(total) else None), steps

    def _step(self, images: Tensor, labels: Tensor) -> Tensor:
        """One optimiser step; the loss stays on the device."""
        settings = self.job.training
        if settings.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        try:
            self.hook.before_forward()
            loss = self.hook.backward(lambda: self.passes(images, labels))
        except LinAlgError:
            raise DivergedError("a weight was not finite at a truncation") from None
        self.hook.before_step()
        self.optimizer.step()
        return loss

    def _loss(self, images: Tensor, labels: Tensor) -> Tensor:
        settings = self.job.training
        with torch.autocast(
            self.job.device, dtype=torch.bfloat16, enabled=settings.precision == "bfloat16"
        ):
            found = answers(self._forward, images)
            loss = self.job.task.loss(found, labels, settings)
            teacher = self.job.teacher
            loss = loss if teacher is None else teacher.mixed(loss, images, found)
            distance = self.job.task.distance
            return self.hook.whole_loss(
                loss, lambda: distance(answers(self.network, images), found.detach(), 1.0)
            )


def _with(network: nn.Module, more: list[nn.Parameter]) -> nn.Module:
    """What is trained and checkpointed: a network, and what its hook trains beside it."""
    return nn.ModuleDict({"of": network, "beside": nn.ParameterList(more)}) if more else network


_EVALUATION_BATCH = 256


class _Over:
    """How many of the steps begun are over: a GPU is behind the host, which does not wait for it.

    The host records an event after each step and asks which ones the device has reached.
    """

    def __init__(self, device: str) -> None:
        self._asynchronous = device == "cuda"
        self._marks: deque[tuple[int, torch.cuda.Event]] = deque()
        self._steps = 0

    def of(self, steps: int) -> int:
        """The number of `steps` that are over."""
        if not self._asynchronous:
            return steps
        mark = torch.cuda.Event()  # type: ignore[no-untyped-call]
        mark.record()
        self._marks.append((steps, mark))
        while self._marks and self._marks[0][1].query():  # type: ignore[no-untyped-call]
            self._steps, _ = self._marks.popleft()
        return self._steps
