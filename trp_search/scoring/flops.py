"""Multiply-adds of a network, by fvcore. One multiply-add counts one."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trp_search.errors import one_line
from trp_search.lowrank.agreement import agree
from trp_search.lowrank.counter import multiply_adds, without_gradients
from trp_search.lowrank.tracing import layer_by_layer
from trp_search.progress import doing
from trp_search.scoring.prices import HANDLES, is_free
from trp_search.tasks.modes import evaluating

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # importing it scripts functions, which torch deprecates
    from fvcore.nn import FlopCountAnalysis


@dataclass(frozen=True, kw_only=True)
class Count:
    """Multiply-adds of one forward pass; `note` says how, if not by fvcore alone."""

    macs: int
    note: str | None = None


@doing("counting multiply-adds")
def count(network: nn.Module, example_input: Tensor) -> Count:
    """Counts one forward pass of `network` in evaluation mode on a (1, C, H, W) `example_input`.

    Where fvcore cannot trace the network, or meets an operator without a price, torch's counter
    counts the whole network; what that does not count either is free. Where both count and differ
    by over 1 %, the note says so.
    """
    try:
        macs, unknown = _traced(network, example_input)
    except Exception as error:  # noqa: BLE001  tracing a network may raise anything
        macs = multiply_adds(network, example_input)
        return Count(
            macs=macs, note=f"by torch's counter: fvcore cannot trace it: {one_line(error)[:100]}"
        )
    names, by_torch = ", ".join(unknown), multiply_adds(network, example_input)
    if not unknown:
        return Count(macs=macs, note=None if agree(macs, by_torch) else _apart(by_torch))
    if by_torch > macs:
        return Count(macs=by_torch, note=f"by torch's counter: fvcore has no price for {names}")
    return Count(macs=macs, note=f"with {names} as free")


def _apart(by_torch: int) -> str:
    return f"by fvcore, where torch's counter has {by_torch:,}"


@contextmanager
def _hooks_kept(network: nn.Module) -> Iterator[None]:
    """Removes what hooks the block has left: fvcore's stay where tracing raises."""
    tables = [t for m in network.modules() for t in (m._forward_hooks, m._forward_pre_hooks)]
    before = [set(table) for table in tables]
    try:
        yield
    finally:
        for table, known in zip(tables, before, strict=True):
            for handle in set(table) - known:
                del table[handle]


def _traced(network: nn.Module, example_input: Tensor) -> tuple[int, list[str]]:
    """Multiply-adds by fvcore, and the operators without a price, which count as zero."""
    # The fused path hides attention's products in one operator.
    with (
        _hooks_kept(network),
        evaluating(network),
        layer_by_layer(),
        without_gradients(network),
        warnings.catch_warnings(),
        torch.no_grad(),
    ):
        warnings.simplefilter("ignore")
        analysis = FlopCountAnalysis(network, example_input)
        analysis.unsupported_ops_warnings(enabled=False)
        analysis.uncalled_modules_warnings(enabled=False)
        analysis.tracer_warnings("none")
        analysis.clear_op_handles()
        analysis.set_op_handle(**HANDLES)
        macs = int(analysis.total())
        unsupported = sorted(analysis.unsupported_ops())
    return macs, [name for name in unsupported if not is_free(name)]
