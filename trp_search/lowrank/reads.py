"""Uses of layers by a network besides calls, which a pair in their place cannot serve."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, final

from torch import Tensor, nn
from typing_extensions import override


@final
class Probe(nn.Sequential):
    """Replaces a layer as a pair would, but still answers reads of the layer's attributes.

    Attributes:
        calls: number of calls.
        reads: attributes of the layer that were read.
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.calls = 0
        self.reads: set[str] = set()
        self._modules["0"] = layer
        self.training = layer.training

    @override
    def forward(self, input: Tensor) -> Tensor:
        self.calls += 1
        found: Tensor = self._modules["0"](input)
        return found

    def missed(self, calls: int) -> str | None:
        """The use that a pair in the layer's place would miss at so many `calls`, or None."""
        if self.reads:
            return f"the network reads its {' and '.join(sorted(self.reads))} directly"
        if self.calls < calls:
            return "the network would not call what stands in its place"
        return None

    @override
    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            value = getattr(self._modules["0"], name)
            self.reads.add(name)
            return value


@contextmanager
def probed(network: nn.Module, layers: Mapping[str, nn.Module]) -> Iterator[dict[str, Probe]]:
    """Probes by the names of `layers`, in place inside the block and removed afterwards."""
    probes = {name: Probe(layer) for name, layer in layers.items()}
    by_layer = {id(layer): probes[name] for name, layer in layers.items()}
    places = [
        (parent._modules, key, child)
        for parent in network.modules()
        for key, child in parent._modules.items()
        if id(child) in by_layer
    ]
    try:
        for modules, key, child in places:
            modules[key] = by_layer[id(child)]
        yield probes
    finally:
        for modules, key, child in places:
            modules[key] = child
