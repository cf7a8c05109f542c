"""What a network learns from the baseline's answers beside what the data ask for."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trp_search.records import Distillation
from trp_search.tasks.task import Task, answers


class Teacher:
    """A network that is trained no further, and the share of a loss that is the distance to it."""

    def __init__(self, network: nn.Module, settings: Distillation, task: Task) -> None:
        self._network = network.eval()
        self._settings = settings
        self._task = task

    def mixed(self, loss: Tensor, images: Tensor, found: Tensor) -> Tensor:
        """The loss by the data and the distance of answers in the settings' proportion.

        Args:
            loss: the mean loss by the data.
            images: (n, c, h, w), what both networks see.
            found: what the network that is trained answers.
        """
        with torch.no_grad():
            teacher = answers(self._network, images)
        distance = self._task.distance(found, teacher, self._settings.temperature)
        return torch.lerp(loss, distance, self._settings.weight)
