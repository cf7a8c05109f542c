"""Defaults of a folder's images that the network's own configuration gives: timm's."""

from __future__ import annotations

import dataclasses

from trp_search.records import Workload
from trp_search.workloads import timm_networks
from trp_search.workloads.sources import source_of


def configured(workload: Workload) -> Workload:
    """`workload` with the image size, mean and std of a timm network where a folder states none.

    Data of a fixed size keep it, and a callable's keep theirs.

    Raises:
        InputError: timm is not installed, or has no such network.
    """
    network, data = workload.network, workload.data
    if not timm_networks.is_timm(network.name) or not source_of(data).files:
        return workload
    timm_networks.check_known(network.name)
    size, known = timm_networks.side(network), timm_networks.normalisation(network)
    if data.image_size is None and size is not None:
        data = dataclasses.replace(data, image_size=size)
    if data.mean is None and known is not None and data.channels in (None, len(known[0])):
        data = dataclasses.replace(data, mean=known[0], std=known[1])
    return dataclasses.replace(workload, data=data)


def added(given: Workload, now: Workload) -> str:
    """What `configured` filled in, as a sentence; empty if nothing."""
    parts = []
    for key in ("image_size", "mean", "std"):
        value = getattr(now.data, key)
        if getattr(given.data, key) != value:
            numbers = value if isinstance(value, tuple) else (value,)
            parts.append(f"{key} {' '.join(f'{number:g}' for number in numbers)}")
    return f"workload.data: {', '.join(parts)}, as {now.network.name} has them" if parts else ""
