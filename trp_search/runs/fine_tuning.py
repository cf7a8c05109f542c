"""Fine-tuning of a network after its cut."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator

import torch
from torch import nn

from trp_search.lowrank.attention import weight_at
from trp_search.records import EpochReport, Layer, Training
from trp_search.runs.setup import Setup
from trp_search.scoring.candidate import Scored, score_uncut
from trp_search.training.loop import Note, train


def tuned(
    scored: Scored, begun: Setup, settings: Training, note: Note
) -> Generator[EpochReport, None, Scored]:
    """Fine-tunes the network of `scored`, in place, by `settings`; scores it again.

    Zeros of a sparse layer stay zero. Continues from its own checkpoint; raises as `train` does.
    """
    job = begun.fine_tuning(settings)
    network = scored.made.network.requires_grad_(requires_grad=True)
    hooks = [hold_zeros(network, layer) for layer in scored.made.layers if layer.is_sparse]
    try:
        yield from train(network, job, note=note)
    finally:
        for remove in hooks:
            remove()
    after = score_uncut(network, begun.splits, begun.task)
    made = dataclasses.replace(scored.made, batch_norm="as fine-tuned")
    return Scored(made=made, validation=after.validation)


def hold_zeros(network: nn.Module, layer: Layer) -> Callable[[], None]:
    """Keeps gradients off the layer's zeros until what it returns is called."""
    weight, own = weight_at(network, layer.name)
    kept = torch.ones_like(weight, dtype=torch.bool)
    kept[own] = weight.detach()[own] != 0
    handle = weight.register_hook(lambda gradient: gradient * kept)
    removed: Callable[[], None] = handle.remove
    return removed
