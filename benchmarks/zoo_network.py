"""One network of the zoo, measured: what `benchmarks.zoo` runs in a process of its own."""

from __future__ import annotations

import copy
import resource
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from trp_search.errors import InputError, one_line
from trp_search.lowrank.choice import Choice
from trp_search.lowrank.cutting import Cutter
from trp_search.lowrank.decompose import build
from trp_search.lowrank.tracing import layer_by_layer
from trp_search.records import Cut, NetworkSpec, Scheme, Speedup
from trp_search.runtimes.onnx import onnx_session, write_onnx
from trp_search.scoring.candidate import cost
from trp_search.tasks.task import threads
from trp_search.workloads import networks

SCHEMES: tuple[Scheme, ...] = ("channel", "spatial", "decoupled")
SPEEDUPS = (1.5, 2.0)
Row = dict[str, Any]

SIDES = (96, 128, 192, 224, 240, 256, 384)  # of images; the first that a network takes
PROMISE = 0.01  # relative difference of the speedups that are told and counted
EXACT = 1e-3  # of the largest output; differences that are not less are taken in double precision


def work(
    to: Connection,
    name: str,
    scheme: Scheme,
    *,
    seconds: int,
    gigabytes: float,
    onnx: bool,
) -> None:
    """Sends a row per cut; the target of a process."""
    most = int(gigabytes * 2**30)
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    with threads(1):
        for row in _rows(name, scheme, onnx=onnx):
            to.send(row)


def _rows(name: str, scheme: Scheme, *, onnx: bool) -> Iterator[Row]:
    try:
        subject = Subject.of(name)
        if onnx:
            yield subject.exported()
            return
    except Exception as error:  # noqa: BLE001  whatever a network raises is a row
        failed = {"outcome": _outcome(error), "reason": _said(error)}
        for asked in SPEEDUPS[-1:] if onnx else SPEEDUPS:
            yield {"scheme": scheme, "asked": asked} | failed
        return
    yield from subject.rows(scheme)


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A network with weights at random, two images, its outputs for them and its cost."""

    network: nn.Module
    images: Tensor
    outputs: Tensor
    macs: int

    @staticmethod
    def of(name: str) -> Subject:
        """The network of this name."""
        network, sides = _built(name)
        # Torch's counter fails where a parameter that learns is a layer's argument.
        network.requires_grad_(requires_grad=False)
        for side in sides:
            images = torch.randn(2, 3, side, side)
            try:
                _settle_(network, images)
                outputs = _answers(network, images)
            except Exception:  # too small for it
                if side == sides[-1]:
                    raise
            else:
                macs = _counted(network, images[:1])
                return Subject(network=network, images=images, outputs=outputs, macs=macs)
        raise AssertionError("no side")

    def rows(self, scheme: Scheme) -> Iterator[Row]:
        """A row per speedup."""
        common: Row = {
            "scheme": scheme,
            "pixels": self.images.shape[-1],
            "parameters": sum(parameter.numel() for parameter in self.network.parameters()),
            "macs": self.macs,
        }
        began = time.perf_counter()
        try:
            cutter = self._cutter()
            wanted = Cut(keep=Speedup(1.0), scheme=scheme)
            common["exact"] = self._exact(cutter, wanted)
            if not common["exact"] < EXACT:  # rounding alone can be as much in a deep network
                double = self._double()
                common["exact"] = double._exact(double._cutter(), wanted)
        except Exception as error:  # noqa: BLE001  as above
            outcome = {"outcome": _outcome(error), "reason": _said(error)}
            yield from (common | {"asked": asked} | outcome for asked in SPEEDUPS)
            return
        for asked in SPEEDUPS:
            row: Row = {**common, "asked": asked}
            try:
                row |= self._measured(cutter, scheme, asked, common["exact"])
            except Exception as error:  # noqa: BLE001  as above
                row |= {"outcome": _outcome(error), "reason": _said(error)}
            yield row | {"seconds": round(time.perf_counter() - began, 1)}
            began = time.perf_counter()

    def exported(self) -> Row:
        """How ONNX Runtime's outputs differ from those of a cut network, the first in reach."""
        began = time.perf_counter()
        cutter, reason = self._cutter(), ""
        for asked in (2.0, 1.5, 1.1):
            try:
                network = cutter.cut(Cut(keep=Speedup(asked), scheme="channel")).network.eval()
                break
            except InputError as error:
                reason = _said(error)
        else:
            return {"scheme": "channel", "asked": asked, "outcome": "refused", "reason": reason}
        outputs = _answers(network, self.images)
        with tempfile.TemporaryDirectory() as place:
            path = Path(place) / "network.onnx"
            write_onnx(copy.deepcopy(network), self.images, path)
            found = onnx_session(path, device="cpu", threads=1)(self.images)
        unlike = _unlike(found, outputs)
        return {
            "scheme": "channel",
            "asked": asked,
            "unlike": unlike,
            "outcome": "reached" if unlike < EXACT else "failed",
            "seconds": round(time.perf_counter() - began, 1),
        }

    def _double(self) -> Subject:
        network, images = copy.deepcopy(self.network).double(), self.images.double()
        outputs = _answers(network, images)
        return Subject(network=network, images=images, outputs=outputs, macs=self.macs)

    def _cutter(self) -> Cutter:
        image = self.images[:1]
        return Cutter(self.network, image, macs=cost(self.network, image).macs, samples=None)

    def _exact(self, cutter: Cutter, wanted: Cut) -> float:
        """The difference of the outputs when every layer that can be cut has all of its ranks."""
        analysis = cutter.analysis(wanted)
        whole = [
            Choice(candidate=layer.candidates[0], ranks=layer.candidates[0].layer.full_ranks)
            if layer.candidates
            else Choice(reason=layer.reason)
            for layer in analysis.layers
        ]
        return _unlike(_answers(build(analysis, whole).network, self.images), self.outputs)

    def _measured(self, cutter: Cutter, scheme: Scheme, asked: float, exact: float) -> Row:
        """The speedups that are told and counted, and what is wrong with them."""
        made = cutter.cut(Cut(keep=Speedup(asked), scheme=scheme))
        before, after = (cost(net, self.images[:1]).macs for net in (self.network, made.network))
        reported = before / after
        counted = self.macs / _counted(made.network, self.images[:1])
        wrong = []
        if not _answers(made.network, self.images).isfinite().all():
            wrong.append("its outputs are not finite")
        if abs(reported / counted - 1) > PROMISE or counted < asked * (1 - PROMISE):
            wrong.append(f"told {reported:.3f}x, counted {counted:.3f}x")
        if not exact < EXACT:
            wrong.append("not exact at full rank")
        return {
            "outcome": "failed" if wrong else "reached",
            "reason": "; ".join(wrong) or None,
            "reported": round(reported, 4),
            "counted": round(counted, 4),
            "cut": sum(layer.rank is not None for layer in made.layers),
            "layers": len(made.layers),
        }


def _built(name: str) -> tuple[nn.Module, tuple[int, ...]]:
    """The network and the sides of images to try."""
    library, own = name.split(":")
    network = networks.build(
        NetworkSpec(name=own if library == "torchvision" else name), channels=3, classes=1000
    ).eval()
    if library == "torchvision":
        # An image that windows do not fill is padded: attention then outweighs what can be cut.
        return network, (256 if "v2" in own else 224,) if "swin" in own else SIDES
    known: Any = network.pretrained_cfg
    usual, fixed = known["input_size"][-1], known.get("fixed_input_size", False)
    return network, (usual,) if fixed else (*(side for side in SIDES if side < usual), usual)


@torch.no_grad()
def _settle_(network: nn.Module, images: Tensor) -> None:
    """Weights at which every layer matters: none constant, and batch norm as on `images`.

    Residual branches that begin at zero or at a scale of 1e-6 would hide any mistake in them.
    """
    for parameter in network.parameters():
        if parameter.dim() and parameter.numel() > 1 and parameter.min() == parameter.max():
            if parameter.dim() == 1 and parameter.max() == 0:
                parameter.normal_(std=0.1)
            else:
                parameter.uniform_(0.5, 1.0).div_(max(1, parameter[0].numel()) ** 0.5)
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.reset_running_stats()
            module.momentum = None  # type: ignore[assignment]
            module.train()
    network(images)
    network.eval()


@torch.no_grad()
def _answers(network: nn.Module, images: Tensor) -> Tensor:
    found = network.eval()(images)
    assert isinstance(found, Tensor), f"returns {type(found).__name__}"
    return found


def _counted(network: nn.Module, images: Tensor) -> int:
    """Multiply-adds by torch's counter, attention's products included."""
    # Fused, attention and recurrent layers would be operators that the counter does not know.
    recurrent = any(isinstance(module, nn.RNNBase) for module in network.modules())
    onednn = torch.backends.mkldnn.flags(enabled=not recurrent)
    counter = FlopCounterMode(display=False)
    with layer_by_layer(), sdpa_kernel(SDPBackend.MATH), onednn, counter:
        _answers(network, images)
    return int(counter.get_total_flops()) // 2


def _unlike(one: Tensor, other: Tensor) -> float:
    """The largest difference of two outputs, as a share of the largest output."""
    return float(f"{float((one - other).abs().max() / other.abs().max()):.2g}")


def _outcome(error: Exception) -> str:
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
        return "too large"
    return "refused" if isinstance(error, InputError) else "failed"


def _said(error: Exception) -> str:
    return (str(error) if isinstance(error, InputError) else one_line(error))[:300]
