"""From trained weights to a smaller network: choose ranks, factor layers that save cost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

import torch
from pydantic import TypeAdapter
from torch import Tensor, nn

from trp_search import records
from trp_search.errors import InputError
from trp_search.lowrank.agreement import check_count
from trp_search.lowrank.analysis import Analysis, analyse
from trp_search.lowrank.budgets import Count
from trp_search.lowrank.choice import Choice, choose
from trp_search.lowrank.counter import by_module
from trp_search.lowrank.decompositions import DECOMPOSITIONS
from trp_search.lowrank.placing import check_runs, copied
from trp_search.lowrank.tracing import arguments, full_precision, images_in


@dataclass(frozen=True, kw_only=True)
class Decomposed:
    """A decomposed copy of a network, and the outcome of each layer with its reason.

    Attributes:
        network: the copy.
        layers: every convolution and linear layer.
        dense_macs: multiply-adds of the whole network for one image before the cut, by
            `torch.utils.flop_counter`.
        macs: of the copy, counted in the same way, less the zeros of sparse layers.
        widths: channels in and out of every module that lost some.
    """

    network: nn.Module
    layers: tuple[records.Layer, ...]
    dense_macs: int
    macs: int
    widths: records.Widths = field(default_factory=dict)

    @property
    def speedup(self) -> float:
        """Multiply-adds of the whole network before / after."""
        return self.dense_macs / self.macs if self.macs else 1.0


def decompose(  # noqa: PLR0913  options of a public call, each with a default
    network: nn.Module,
    example_input: Tensor | Sequence[Any],
    keep: records.Keep | Mapping[str, int],
    *,
    scheme: str = "channel",
    allocation: str = "knapsack",
    multiple: int = 1,
    calibration: Iterable[Tensor] | None = None,
    layers: records.Layers = records.AUTO,
    times: Count | None = None,
) -> Decomposed:
    """A copy of `network` with low-rank layers wherever they are cheaper.

    >>> import torch
    >>> from torch import nn
    >>> from trp_search import Speedup, decompose
    >>> network = nn.Sequential(nn.Conv2d(3, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3))
    >>> images = torch.rand(8, 3, 16, 16)
    >>> cut = decompose(network, images, Speedup(2))
    >>> cut.network(images).shape
    torch.Size([8, 64, 12, 12])
    >>> before = sum(layer.dense_macs for layer in cut.layers)
    >>> before / sum(layer.macs for layer in cut.layers) >= 2
    True

    Args:
        network: any module of plain PyTorch, as it is before `torch.compile`, `torch.jit` and
            `torch.export`; it is not changed.
        example_input: input of its forward pass: a tensor whose first axis is the batch, or the
            arguments, whose first tensor has that axis.
        keep: `Energy`, `Value`, `Ratio`, `Evbmf` or `GavishDonoho` of each layer; `Speedup` (of all
            convolutions, linear layers and matrix products; the returned network is measured and
            reaches it) or `Parameters` of the network; `LatencySpeedup` or `Milliseconds` of it, by
            `times`; `Error` of linear layers, under the schemes
            `ddlr-style` and `net-trim`; or ranks by layer name, used even where they save no
            multiply-adds; layers not named stay dense.
        scheme: pairs by `channel`, `spatial` or `decoupled`, `per-layer` for the best pair in each
            layer, or another of `records.Cut`; ranks by layer need one with one rank in each.
        allocation: how a budget is spread over layers.
        multiple: ranks are multiples of this.
        calibration: batches of images whose activations weight errors, a few hundred in all;
            measure batch norm statistics again afterwards.
        layers: which may be cut: `kxk`, convolutions wider than 1x1 but the first; `all`; `auto`,
            which is `kxk` where these hold nearly all multiply-adds and `all` elsewhere, and with
            ranks by layer; or names and patterns by commas, `"all, !head, !stem.*"`.
        times: those of the network's layers, from `time_layers`, for a time budget.

    Raises:
        InputError: a budget out of reach; an unknown scheme or layer; an option out of
            range; a value that is not finite; a network that is compiled, scripted or exported, has
            no weights yet, or cannot do without a layer that was factored.
    """
    for name, asked, known in (
        ("scheme", scheme, tuple(DECOMPOSITIONS)),
        ("allocation", allocation, get_args(records.Allocation)),
    ):
        if asked not in known:
            raise InputError(f"{name}: {asked!r} is not one of {', '.join(known)}")
    options: dict[str, Any] = {"scheme": scheme, "allocation": allocation, "multiple": multiple}
    if isinstance(keep, Mapping) and keep:
        keep = records.Ranks(dict(keep))
    if not isinstance(keep, records.Keep):
        raise InputError(
            f"decompose: keep: {keep!r:.80} is neither a value, such as Speedup(2) or "
            "Energy(0.95), nor ranks by layer"
        )
    named = isinstance(keep, records.Ranks) and layers == records.AUTO
    options |= {"keep": keep, "layers": "all" if named else layers}
    solved = isinstance(keep, records.Error)
    options |= {"calibration_images": 0 if calibration is None and not solved else 1}
    try:
        wanted = TypeAdapter(records.Cut).validate_python(options)
    except ValueError as error:
        raise InputError(f"decompose: {records.problem(error, records.Cut)}") from None
    if solved and calibration is None:
        raise InputError("decompose: error: needs calibration, a few hundred images in batches")
    images = None if calibration is None else _batches(calibration, example_input)
    analysis = analyse(network, example_input, DECOMPOSITIONS[scheme], wanted, images)
    if isinstance(wanted.keep, records.Speedup):
        return _faster(analysis, wanted, wanted.keep.speedup)
    return cut(analysis, wanted, times=times)


def _batches(
    calibration: Iterable[Tensor], example_input: Tensor | Sequence[Any]
) -> Iterator[Tensor]:
    """The batches; one that is no tensor of as many axes as the example's raises InputError."""
    axes = next(one.dim() for one in arguments(example_input) if isinstance(one, Tensor))
    for number, batch in enumerate(calibration):
        if getattr(batch, "ndim", None) != axes:
            wanted = f"a tensor of {axes} axes, as the example is"
            raise InputError(f"decompose: calibration: batch {number} is not {wanted}")
        yield batch


def _faster(analysis: Analysis, wanted: records.Cut, speedup: float) -> Decomposed:
    """The cut to a speedup of the whole network, as counted after the cut."""
    result = cut(analysis, wanted, other_macs=analysis.other_macs)
    if result.dense_macs + 1 < speedup * result.macs * (1 - _ROUNDING):
        raise InputError(
            f"speedup: {speedup:g}x cannot be promised: the whole network was counted at "
            f"{result.speedup:.2f}x once cut"
        )
    return result


# Relative, of a budget to whole multiply-adds; one more is the rounding of a batch to an image.
_ROUNDING = 1e-6


def cut(
    analysis: Analysis, wanted: records.Cut, *, other_macs: int = 0, times: Count | None = None
) -> Decomposed:
    """The network of `analysis` cut as `wanted`; see `choose` for arguments and errors."""
    return build(analysis, choose(analysis, wanted, other_macs=other_macs, times=times))


@torch.no_grad()
def build(analysis: Analysis, choices: Sequence[Choice]) -> Decomposed:
    """A copy of the analysed network with the chosen layers in place."""
    result = copied(analysis.network)
    found = []
    # New layers draw initial weights, which must not advance the caller's random state.
    with torch.random.fork_rng(devices=[]), full_precision(result):
        for layer, choice in zip(analysis.layers, choices, strict=True):
            if choice.candidate is None:
                assert choice.reason is not None
                found.append(layer.layer.dense(choice.reason))
            else:
                found.append(choice.candidate.place_(result, choice.ranks, choice.kept))
    return checked(result, analysis.example_input, found, dense=analysis.macs)


def checked(
    network: nn.Module,
    example_input: Tensor | Sequence[Any],
    layers: Sequence[records.Layer],
    *,
    dense: int,
    widths: records.Widths | None = None,
) -> Decomposed:
    """The cut `network` with its multiply-adds; `dense` are those before, for all images.

    Raises:
        InputError: it does not run, or multiplies otherwise than its `layers` say.
    """
    check_runs(network, example_input)
    images, found = images_in(example_input), by_module(network, example_input)
    check_count(layers, dense=dense, counted=found, images=images)
    return Decomposed(
        network=network,
        layers=tuple(layers),
        dense_macs=dense // images,
        macs=found[""] // images - sum(x.dense_macs - x.macs for x in layers if x.is_sparse),
        widths=widths or {},
    )
