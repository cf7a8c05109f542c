"""Fine-tuning of a network after its cut."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator

from torch import Tensor, nn

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
    hooks = [_hold(network, layer) for layer in scored.made.layers if layer.is_sparse]
    try:
        yield from train(network, job, note=note)
    finally:
        for remove in hooks:
            remove()
    after = score_uncut(network, begun.splits, begun.task)
    made = dataclasses.replace(scored.made, batch_norm="as fine-tuned")
    return Scored(made=made, validation=after.validation)


def _hold(network: nn.Module, layer: Layer) -> Callable[[], None]:
    """Keeps gradients off the layer's zeros until what it returns is called."""
    weight = network.get_submodule(layer.name).weight
    assert isinstance(weight, Tensor)
    kept = (weight != 0).detach()
    handle = weight.register_hook(lambda gradient: gradient * kept)  # type: ignore[no-untyped-call]
    removed: Callable[[], None] = handle.remove
    return removed
