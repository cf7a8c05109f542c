"""Starting or joining Ray, counting what fits, checking that its nodes share the run folder."""

from __future__ import annotations

import importlib.util
import logging
import os
import secrets
import socket
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from trp_search.errors import InputError
from trp_search.records import Workload
from trp_search.search.local import local_ray, unmoved_handlers
from trp_search.space import Resources
from trp_search.store import RunFolder, write_whole
from trp_search.workloads.callables import see_current_folder

_CONNECT_SECONDS = 10.0
_NODE_SECONDS = 90.0
_JOIN_SECONDS = 60.0
# Where nobody answers, or answers no, Ray asks again for minutes and says so on stderr each time.
_IMPATIENT = {"RAY_NUM_REDIS_GET_RETRIES": "1"}
_REFUSALS = {
    "InvalidAuthToken": "it wants an authentication token that this machine does not have",
    "Timed out while waiting for GCS": "something answers there, but not Ray",
}


@contextmanager
def connected(address: str | None, *, modules: tuple[Path, ...]) -> Iterator[None]:
    """Runs Ray for the block, unless the calling program already runs it.

    Args:
        address: None starts one on this machine, `auto` or `host:port` joins a cluster.
        modules: the user's modules, sent to the workers of a cluster.

    Raises:
        InputError: the cluster cannot be joined.
    """
    if ray.is_initialized():
        yield
        return
    if address is None:
        with local_ray():
            yield
        return
    if address != "auto":
        _check_port(address)
    _keep_token_private()
    _try_to_join(address)
    try:
        with unmoved_handlers():
            ray.init(
                address=address,
                log_to_driver=False,
                logging_level=logging.CRITICAL,
                runtime_env={"py_modules": [str(path) for path in modules]} if modules else None,
            )
        yield
    finally:
        ray.shutdown()


def _keep_token_private() -> None:
    """Restricts Ray's token file, which every user of the machine can read, to its owner."""
    token = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    with suppress(OSError, RuntimeError):  # there is none, or it is not ours to change
        if token.is_file() and token.stat().st_uid == os.getuid():
            token.chmod(token.stat().st_mode & 0o700)


def user_modules(workload: Workload) -> tuple[Path, ...]:
    """Files and package folders of the callables that a workload names, unless installed."""
    see_current_folder()
    found = []
    installed = Path(sysconfig.get_path("purelib"))
    for name in (workload.network.name, workload.data.name):
        module, colon, _ = name.partition(":")
        spec = importlib.util.find_spec(module.partition(".")[0]) if colon else None
        if spec is None:
            continue
        path = Path([*(spec.submodule_search_locations or ()), spec.origin][0])
        if installed not in path.parents and path not in found:
            found.append(path)
    return tuple(found)


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
        raise InputError(f"node {name} cannot run a task: {last_line(error)}") from None
    return found


def _node_name(node: dict[str, Any]) -> str:
    return f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']}, {node['NodeID'][:8]})"


def _fits(node: dict[str, float], resources: Resources) -> int:
    by_cpu = int(node.get("CPU", 0) // resources.cpus)
    if not resources.gpus:
        return by_cpu
    per_gpu = int(1 / resources.gpus)
    return min(by_cpu, int(node.get("GPU", 0)) * per_gpu)


def _check_port(address: str) -> None:
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdigit():
        raise InputError(f"address: {address!r} is neither auto nor host:port")
    try:
        socket.create_connection((host, int(port)), timeout=_CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise InputError(f"address: {address}: no connection: {last_line(error)}") from None


def _try_to_join(address: str) -> None:
    """Tries to join from a child process first, so that Ray's errors become one line."""
    program = f"import ray; ray.init(address={address!r}, log_to_driver=False)"
    try:
        done = subprocess.run(  # noqa: S603  our own program
            [sys.executable, "-c", program],
            env=os.environ | _IMPATIENT,
            capture_output=True,
            text=True,
            timeout=_JOIN_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise InputError(f"address: {address}: no answer in {_JOIN_SECONDS:.0f} s") from None
    if done.returncode:
        known = (said for sign, said in _REFUSALS.items() if sign in done.stderr)
        raise InputError(f"address: {address}: {next(known, _last(done.stderr))}")


def last_line(error: BaseException) -> str:
    """The last line with text: Ray prints a worker's traceback before it."""
    return _last(str(error)) or type(error).__name__


def _last(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else ""
