"""What a network learns from the baseline's answers beside the labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from trp_search.records import Distillation


class Teacher:
    """A network that is trained no further, and the share of a loss that is the distance to it."""

    def __init__(self, network: nn.Module, settings: Distillation) -> None:
        self._network = network.eval()
        self._settings = settings

    def mixed(self, loss: Tensor, images: Tensor, logits: Tensor) -> Tensor:
        """The loss by labels and the distance of answers in the settings' proportion.

        The distance is Kullback and Leibler's, times the temperature squared, so that gradients
        are as large at any temperature (Hinton et al., arXiv 1503.02531, section 2).

        Args:
            loss: the mean loss by labels.
            images: (n, c, h, w), what both networks see.
            logits: (n, classes), what the network that is trained answers.
        """
        weight, temperature = self._settings.weight, self._settings.temperature
        with torch.no_grad():
            wanted = functional.log_softmax(answers(self._network, images) / temperature, dim=1)
        found = functional.log_softmax(logits / temperature, dim=1)
        distance = functional.kl_div(found, wanted, reduction="batchmean", log_target=True)
        return torch.lerp(loss, distance * temperature**2, weight)


def answers(network: Callable[[Tensor], Any], images: Tensor) -> Tensor:
    """(n, classes) logits."""
    output = network(images)
    # GoogLeNet and Inception return named tuples while training.
    logits: Tensor = output if isinstance(output, Tensor) else output[0]
    return logits
