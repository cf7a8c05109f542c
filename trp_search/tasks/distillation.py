"""Distillation: a network learns from the baseline's answers as well as from the data."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trp_search.records import Distillation
from trp_search.tasks.task import Task, answers


class Teacher:
    """A fixed network, and the share of the loss that is the distance to its answers."""

    def __init__(self, network: nn.Module, settings: Distillation, task: Task) -> None:
        self._network = network.eval()
        self._settings = settings
        self._task = task

    def mixed(self, loss: Tensor, images: Tensor, found: Tensor) -> Tensor:
        """The data loss and the distance to the teacher's answers, in the settings' proportion.

        Args:
            loss: the mean loss on the data.
            images: (n, c, h, w), input of both networks.
            found: answers of the network that is trained.
        """
        with torch.no_grad():
            teacher = answers(self._network, images)
        distance = self._task.distance(found, teacher, self._settings.temperature)
        return torch.lerp(loss, distance, self._settings.weight)
