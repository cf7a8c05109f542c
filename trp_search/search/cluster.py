"""A cluster's nodes: how many trials fit on them, and whether they share the run folder."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from trp_search.errors import InputError, last_words
from trp_search.space import Resources
from trp_search.store import RunFolder, write_whole

_NODE_SECONDS = 90.0


def slots(resources: Resources) -> int:
    """How many trials fit at once; InputError if not even one fits."""
    nodes: list[dict[str, float]] = [node["Resources"] for node in _nodes()]
    for name, key, wanted in (
        ("cpus", "CPU", resources.cpus),
        ("gpus", "GPU", resources.gpus),
    ):
        most = max((node.get(key, 0.0) for node in nodes), default=0.0)
        if wanted > most:
            raise InputError(
                f"resources.{name}: {wanted:g} is more than any machine has ({most:g})"
            )
    fitting = sum(_fits(node, resources) for node in nodes)
    if fitting == 0:
        raise InputError(
            f"resources: no machine has {resources.cpus} CPUs and {resources.gpus:g} GPUs at once"
        )
    return fitting


def cores(wanted: int) -> int:
    """How many of `wanted` cores one training may use while no other runs.

    On several machines it is one, because Ray would not know that the others are taken.
    """
    nodes = _nodes()
    if len(nodes) > 1:
        return 1
    return max(1, min(wanted, int(nodes[0]["Resources"].get("CPU", 1))))


def devices() -> list[str]:
    """The accelerators of all nodes, by the names that Ray gives them."""
    prefix = "accelerator_type:"
    keys = {key for node in _nodes() for key in node["Resources"]}
    return sorted(key.removeprefix(prefix) for key in keys if key.startswith(prefix))


def check_storage(run: RunFolder) -> None:
    """Raises InputError unless every node reads what is written to the run folder here."""
    token = run.path / f".token-{secrets.token_hex(4)}.tmp"
    secret = secrets.token_hex(16)
    write_whole(token, secret)
    try:
        asked = {_node_name(node): _ask(node, token) for node in _nodes()}
        for name, answer in asked.items():
            if _answer(answer, name) != secret:
                raise InputError(
                    f"{run.path}: node {name} does not see this folder; a search on a cluster "
                    "needs a run folder that all nodes share"
                )
    finally:
        token.unlink(missing_ok=True)


def _nodes() -> list[dict[str, Any]]:
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return [node for node in nodes if node["Alive"]]


def _read(path: Path) -> str | None:
    return path.read_text() if path.is_file() else None


def _ask(node: dict[str, Any], token: Path) -> ray.ObjectRef[str | None]:
    here = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
    task = ray.remote(num_cpus=0, max_retries=0)(_read).options(scheduling_strategy=here)
    answer: ray.ObjectRef[str | None] = task.remote(token)
    return answer


def _answer(answer: ray.ObjectRef[str | None], name: str) -> str | None:
    try:
        found: str | None = ray.get(answer, timeout=_NODE_SECONDS)
    except RayError as error:
        raise InputError(f"node {name} cannot run a task: {last_words(error)}") from None
    return found


def _node_name(node: dict[str, Any]) -> str:
    return f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']}, {node['NodeID'][:8]})"


def _fits(node: dict[str, float], resources: Resources) -> int:
    by_cpu = int(node.get("CPU", 0) // resources.cpus)
    if not resources.gpus:
        return by_cpu
    per_gpu = int(1 / resources.gpus)
    return min(by_cpu, int(node.get("GPU", 0)) * per_gpu)
