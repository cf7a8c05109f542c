from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from trp_search.records import Target
from trp_search.runtimes import openvino
from trp_search.runtimes.serving import ready


@pytest.mark.slow
def test_the_file_takes_any_batch_in_single_precision(
    pairs: nn.Module, images: Tensor, tmp_path: Path
):
    openvino.write_openvino(pairs, images, tmp_path / "network.xml")
    sizes = {entry.name: entry.stat().st_size for entry in tmp_path.iterdir()}
    assert sizes.keys() == {"network.xml", "network.bin"}
    assert sizes["network.bin"] > 3.5 * sum(p.numel() for p in pairs.parameters())
    run = importlib.import_module("openvino").Core().compile_model(tmp_path / "network.xml", "CPU")
    for number in (1, 3, 7):
        batch = torch.randn(number, 3, 8, 8)
        found = torch.from_numpy(run(batch.numpy())["logits"])
        torch.testing.assert_close(found, pairs(batch).detach(), rtol=2e-2, atol=2e-2)


@pytest.mark.slow
def test_nothing_is_told_to_its_makers_and_the_process_keeps_its_cores(
    pairs: nn.Module, images: Tensor
):
    cores = os.sched_getaffinity(0)
    where = Target(name="here", runtime="openvino", batch=3, height=8, width=8)
    call = ready(pairs, images, where)
    call()
    assert sys.modules["openvino_telemetry"] is None
    assert os.sched_getaffinity(0) == cores


SIGNALLED = """
import signal, sys
from pathlib import Path
from trp_search.runtimes.openvino import openvino_session
first, second = [openvino_session(Path(sys.argv[1]), threads=1) for _ in range(2)]
del first
del second
signal.signal(signal.SIGALRM, lambda *_: print("arrived"))
signal.raise_signal(signal.SIGALRM)
"""


@pytest.mark.slow
def test_a_signal_arrives_after_networks_that_ended_in_the_order_of_their_beginning(
    pairs: nn.Module, images: Tensor, tmp_path: Path
):
    openvino.write_openvino(pairs, images, tmp_path / "network.xml")
    command = [sys.executable, "-c", SIGNALLED, str(tmp_path / "network.xml")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, "arrived\n")
