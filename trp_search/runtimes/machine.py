"""Names of this machine's processor and GPU."""

from __future__ import annotations

import platform
from pathlib import Path

import torch


def processor() -> str:
    """The CPU's model, where the system reports it."""
    table = Path("/proc/cpuinfo")
    lines = table.read_text().splitlines() if table.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    if models:
        return f"{models[0]} ({len(models)} threads)"
    return platform.processor() or platform.machine()


def device_name(device: str) -> str:
    """The GPU's name, or the processor's."""
    return torch.cuda.get_device_name() if device == "cuda" else processor()


def busy() -> str | None:
    """What other work does to times, if other processes load the machine."""
    table = Path("/proc/loadavg")
    load = float(table.read_text().split()[0]) if table.is_file() else 0.0
    if load <= _LOADED:
        return None
    return f"other work runs here (load {load:.1f}): ratios hold, milliseconds do not"


_LOADED = 0.5


def adds_int8_products() -> bool:
    """Whether the CPU adds products of int8 without saturating; Intel's do with VNNI, ARM's do."""
    table = Path("/proc/cpuinfo")
    flags = table.read_text() if table.is_file() else ""
    intel = platform.machine().lower() in ("x86_64", "amd64")
    return not intel or "avx512_vnni" in flags or "avx_vnni" in flags
