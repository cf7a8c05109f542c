"""One network of the zoo, measured: what `benchmarks.zoo` runs in a process of its own."""

from __future__ import annotations

import argparse
import copy
import json
import resource
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from trp_search.errors import InputError, one_line
from trp_search.lowrank.analysis import analyse
from trp_search.lowrank.choice import Choice
from trp_search.lowrank.cutting import Cutter
from trp_search.lowrank.decompose import build
from trp_search.lowrank.decompositions import DECOMPOSITIONS
from trp_search.lowrank.tracing import layer_by_layer
from trp_search.records import Cut, Energy, Scheme, Speedup
from trp_search.runtimes.onnx import onnx_session, write_onnx
from trp_search.scoring.candidate import cost
from trp_search.tasks.task import threads

SCHEMES: tuple[Scheme, ...] = ("channel", "spatial", "decoupled")
SPEEDUPS = (1.5, 2.0)
FIELDS = (
    *("network", "scheme", "asked", "outcome", "reported", "counted", "exact", "onnx"),
    *("pixels", "parameters", "macs", "cut", "layers", "seconds", "commit", "reason"),
)
Row = dict[str, Any]

SIDES = (96, 128, 192, 224, 240, 256, 384)  # of images; the first that a network takes
PROMISE = 0.01  # relative difference of the speedups that are told and counted
EXACT = 1e-3  # of the largest output, in single precision
_WITHOUT_HEADS = {"aux_logits": False, "transform_input": True, "init_weights": False}


def main() -> None:
    """Reads the command line; prints a row of JSON per scheme and speedup."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("network")
    parser.add_argument("--schemes", default=",".join(SCHEMES))
    parser.add_argument("--onnx", action="store_true")
    parser.add_argument("--gigabytes", type=float, default=8.0)
    given = parser.parse_args()
    most = int(given.gigabytes * 2**30)
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    with threads(1):
        for row in rows(given.network, given.schemes.split(","), onnx=given.onnx):
            print(json.dumps({"network": given.network, **row}), flush=True)


def rows(name: str, schemes: list[str], *, onnx: bool) -> Iterator[Row]:
    """What comes of each scheme and speedup."""
    try:
        subject = Subject.of(name)
    except Exception as error:  # noqa: BLE001  whatever a network raises is a row
        yield {"outcome": "failed", "reason": f"not built: {one_line(error)}"}
        return
    for scheme in schemes:
        yield from subject.rows(scheme, onnx=onnx and scheme == SCHEMES[0])


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

    def rows(self, scheme: Scheme, *, onnx: bool) -> Iterator[Row]:
        """A row per speedup."""
        common = {
            "scheme": scheme,
            "pixels": self.images.shape[-1],
            "parameters": sum(parameter.numel() for parameter in self.network.parameters()),
            "macs": self.macs,
        }
        began = time.perf_counter()
        try:
            exact = self.exact(scheme)
            before = cost(self.network, self.images[:1]).macs
            cutter = Cutter(self.network, self.images[:1], macs=before, samples=None)
        except InputError as error:
            refused = {**common, "outcome": "refused", "reason": str(error)}
            yield from ({**refused, "asked": asked} for asked in SPEEDUPS)
            return
        except Exception as error:  # noqa: BLE001  as above
            failed = {**common, "outcome": "failed", "reason": one_line(error)}
            yield from ({**failed, "asked": asked} for asked in SPEEDUPS)
            return
        for asked in SPEEDUPS:
            row: Row = {**common, "asked": asked, "exact": exact}
            try:
                row |= self.measured(cutter, Cut(keep=Speedup(asked), scheme=scheme), before)
                if onnx and asked == SPEEDUPS[-1]:
                    row |= self.exported(cutter, Cut(keep=Speedup(asked), scheme=scheme))
            except InputError as error:
                row |= {"outcome": "refused", "reason": str(error)}
            except Exception as error:  # noqa: BLE001  as above
                row |= {"outcome": "failed", "reason": f"{type(error).__name__}: {one_line(error)}"}
            yield row | {"seconds": round(time.perf_counter() - began, 1)}
            began = time.perf_counter()

    def exact(self, scheme: Scheme) -> float:
        """The difference of the outputs when every layer has all of its ranks."""
        wanted = Cut(keep=Energy(1.0), scheme=scheme)
        analysis = analyse(self.network, self.images[:1], DECOMPOSITIONS[scheme], wanted)
        choices = [
            Choice(candidate=layer.candidates[0], ranks=layer.candidates[0].layer.full_ranks)
            if layer.candidates
            else Choice(reason=layer.reason)
            for layer in analysis.layers
        ]
        return self.unlike(_answers(build(analysis, choices).network, self.images), self.outputs)

    def measured(self, cutter: Cutter, wanted: Cut, before: int) -> Row:
        """The speedups that are told and counted, and what is wrong with them."""
        assert isinstance(wanted.keep, Speedup)
        made = cutter.cut(wanted)
        reported = before / cost(made.network, self.images[:1]).macs
        counted = self.macs / _counted(made.network, self.images[:1])
        outputs = _answers(made.network, self.images)
        wrong = None
        if not outputs.isfinite().all():
            wrong = "its outputs are not finite"
        if abs(reported / counted - 1) > PROMISE or counted < wanted.keep.speedup * (1 - PROMISE):
            wrong = f"told {reported:.3f}x, counted {counted:.3f}x"
        return {
            "outcome": "failed" if wrong else "reached",
            "reason": wrong,
            "reported": reported,
            "counted": counted,
            "cut": sum(layer.rank is not None for layer in made.layers),
            "layers": len(made.layers),
        }

    def exported(self, cutter: Cutter, wanted: Cut) -> Row:
        """The difference between ONNX Runtime's outputs and those of the cut network."""
        network = cutter.cut(wanted).network.eval()
        with tempfile.TemporaryDirectory() as place:
            path = Path(place) / "network.onnx"
            try:
                write_onnx(copy.deepcopy(network), self.images, path)
                found = onnx_session(path, device="cpu", threads=1)(self.images)
            except Exception as error:  # noqa: BLE001  as above
                return {"onnx": f"{type(error).__name__}: {one_line(error)}"[:200]}
        return {"onnx": self.unlike(found, _answers(network, self.images))}

    def unlike(self, one: Tensor, other: Tensor) -> float:
        """The largest difference of two outputs, as a share of the largest output."""
        return float((one - other).abs().max() / other.abs().max())


def _built(name: str) -> tuple[nn.Module, tuple[int, ...]]:
    """The network and the sides of images to try."""
    library, own = name.split(":")
    if library == "torchvision":
        import torchvision.models  # noqa: PLC0415  seconds

        options = _WITHOUT_HEADS if own in ("googlenet", "inception_v3") else {}
        return torchvision.models.get_model(own, weights=None, **options).eval(), SIDES
    import timm  # noqa: PLC0415  seconds

    network = timm.create_model(own, pretrained=False).eval()
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
                parameter.uniform_(0.5, 1.0).div_(
                    max(1, parameter.numel() // len(parameter)) ** 0.5
                )
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    network(images)
    network.eval()


@torch.no_grad()
def _answers(network: nn.Module, images: Tensor) -> Tensor:
    found = network.eval()(images)
    assert isinstance(found, Tensor), f"returns {type(found).__name__}"
    return found


def _counted(network: nn.Module, images: Tensor) -> int:
    """Multiply-adds by torch's counter, attention's products included."""
    # Fused attention would be one operator, which the counter does not know.
    with layer_by_layer(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        _answers(network, images)
    return int(counter.get_total_flops()) // 2


if __name__ == "__main__":
    main()
