"""Checks of what a network returns: its type, and what its task asks for."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trp_search.errors import InputError, one_line
from trp_search.records import Workload
from trp_search.tasks import task_of
from trp_search.workloads.callables import is_callable_name


def check_answers(network: nn.Module, images: Tensor, workload: Workload, *, classes: int) -> None:
    """Raises InputError unless `network`, in its current mode, returns what its task asks for.

    In training mode the first item of a tuple counts, as for GoogLeNet.
    """
    problem = _problem(network, images, workload, classes)
    if problem is not None:
        mode = "in training: " if network.training else ""
        raise InputError(f"workload.network: {workload.network.name}: {mode}{problem}")


def _problem(network: nn.Module, images: Tensor, workload: Workload, classes: int) -> str | None:
    try:
        with torch.no_grad():
            output = network(images)
    except Exception as error:  # noqa: BLE001  a user's code may raise anything
        return _why(error, network, images)
    if network.training and isinstance(output, tuple | list) and output:
        output = output[0]
    if not isinstance(output, Tensor):
        return f"returns a {type(output).__name__}; one tensor is expected"
    problem = task_of(workload).misfit(output, images=len(images), classes=classes)
    if problem is not None and output.shape[-1] > classes and is_callable_name(workload.data.name):
        return f"{problem} (workload.data.classes, if some of them have no image)"
    if problem is None and not output.is_floating_point():
        return f"answers {_name(output.dtype)} numbers; floating-point ones are wanted"
    return problem


def _why(error: Exception, network: nn.Module, images: Tensor) -> str:
    """Why a forward pass failed, as far as one can tell."""
    if found := other_precision(network):
        return f"{found}: return it with .float()"
    channels, height, width = images.shape[1:]
    return (
        f"given images of {channels} x {height} x {width} (channels x height x width), it "
        f"raised {one_line(error)}"
    )


def other_precision(network: nn.Module) -> str | None:
    """Which precisions besides float32, that of images, the weights of `network` have, if any."""
    weights = [each for each in network.parameters() if each.is_floating_point()]
    kinds = {weight.dtype for weight in weights} - {torch.float32}
    found = ", ".join(sorted(map(_name, kinds)))
    return f"its weights are {found} and images float32" if kinds else None


def _name(kind: torch.dtype) -> str:
    return str(kind).removeprefix("torch.")
