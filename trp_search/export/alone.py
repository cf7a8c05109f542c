"""Files of networks run in a fresh process that cannot import this package."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from trp_search.errors import TrpSearchError, last_words

BATCH = 256  # images at a time
# Bytes beside the software's own: of anything, for each of the file's, for each of a batch's.
_ANY, _FILE, _IMAGES = 2**30, 16, 64
_SECONDS, _IMAGE_SECONDS = 300.0, 2.0

_PROGRAM = """
import gc, pathlib, sys
gc.disable()
for name in ("trp_search", *sys.argv[4:]):
    sys.modules[name] = None
import torch
from safetensors.torch import load_file, save_file
{limit}
{load}
images = load_file(sys.argv[2])["images"]
with torch.no_grad():
    logits = torch.cat([network(batch) for batch in images.split({batch})])
save_file({{"logits": logits.contiguous()}}, sys.argv[3])
"""
_LIMIT = """
if sys.platform == "linux":
    import resource
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[0])
    most, hard = pages * resource.getpagesize() + {most}, resource.getrlimit(resource.RLIMIT_AS)[1]
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(resource.RLIMIT_AS, (most, hard))
"""
ONNX = """
import onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = torch.get_num_threads()
session = onnxruntime.InferenceSession(sys.argv[1], options)
def network(images):
    return torch.from_numpy(session.run(["logits"], {"images": images.numpy()})[0])
"""
OPENVINO = """
import openvino
options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
compiled = openvino.Core().compile_model(sys.argv[1], "CPU", options)
def network(images):
    return torch.from_numpy(compiled(images.numpy())["logits"])
"""
EXECUTORCH = """
from executorch.runtime import Runtime
method = Runtime.get().load_program(sys.argv[1]).load_method("forward")
def network(images):
    return torch.cat([method.execute([image])[0].clone() for image in images.split(1)])
"""
PT2 = "network = torch.export.load(sys.argv[1]).module()"
SOURCE = """
path = pathlib.Path(sys.argv[1])
scope = {"__file__": str(path), "__name__": "network"}
exec(compile(path.read_text(), str(path), "exec"), scope)
network = scope["load"]()
"""


def run_alone(load: str, *without: str, limited: bool = False) -> Callable[[Path, Tensor], Tensor]:
    """What runs a file on images by the program `load`, on as many threads as PyTorch has here.

    Its process imports neither this package nor what is named; memory and time are `limited` for a
    stranger's file. It raises TrpSearchError where the file does not run.
    """

    def run(path: Path, images: Tensor) -> Tensor:
        limit, seconds = "", None
        if limited:
            batch = images[:BATCH].nbytes
            limit = _LIMIT.format(most=_ANY + _FILE * path.stat().st_size + _IMAGES * batch)
            seconds = _SECONDS + _IMAGE_SECONDS * len(images)
        program = _PROGRAM.format(load=load, limit=limit, batch=BATCH)
        with tempfile.TemporaryDirectory() as place:
            given, found = Path(place) / "images", Path(place) / "logits"
            save_file({"images": images.contiguous()}, given)
            words = [sys.executable, "-I", "-c", program, str(path), str(given), str(found)]
            _finish([*words, *without], seconds)
            return load_file(found)["logits"]

    return run


def _finish(words: list[str], seconds: float | None) -> None:
    try:
        done = subprocess.run(  # noqa: S603  our own program
            words,
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
            env=os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())},
        )
    except subprocess.TimeoutExpired:
        raise TrpSearchError(f"it does not end within {seconds:.0f} s") from None
    if done.returncode != 0:
        raise TrpSearchError(f"it does not run in a fresh process: {last_words(done.stderr)[:200]}")
