"""Starting Ray here or joining a cluster, with the user's modules sent along."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import ray

from trp_search.errors import InputError, last_words
from trp_search.search.local import local_ray, read_token, unmoved_handlers

_CONNECT_SECONDS = 10.0
_JOIN_SECONDS = 60.0
# Where nobody answers, or answers no, Ray asks again for minutes and says so on stderr each time.
_IMPATIENT = {"RAY_NUM_REDIS_GET_RETRIES": "1"}
# What a start on this machine may take; a cluster that runs answers in Ray's own times.
_PATIENT = (
    "RAY_agent_register_timeout_ms",
    "RAY_gcs_server_port_wait_time_s",
    "RAY_worker_register_timeout_seconds",
)
_MODE = "RAY_AUTH_MODE"
_GUARDED = "it wants an authentication token that this machine does not have"
_REFUSALS = {
    "InvalidAuthToken": _GUARDED,
    "no authentication token was found": _GUARDED,
    "Timed out while waiting for GCS": "something answers there, but not Ray",
}


@contextmanager
def connected(
    address: str | None,
    *,
    modules: tuple[Path, ...],
    tell: Callable[[str], None] = lambda _: None,
) -> Iterator[None]:
    """Runs Ray for the block, unless the calling program already runs it.

    Args:
        address: None starts one on this machine, `auto` or `host:port` joins a cluster.
        modules: the user's modules, sent to the workers of a cluster.
        tell: hears what a start on this machine waits for.

    Raises:
        InputError: the cluster cannot be joined.
        SearchError: Ray does not start on this machine.
    """
    if ray.is_initialized():
        yield
        return
    if address is None:
        with local_ray(tell):
            yield
        return
    if address != "auto":
        _check_port(address)
    _keep_token_private()
    with _admitted(address):
        try:
            with unmoved_handlers():
                ray.init(
                    address=address,
                    log_to_driver=False,
                    logging_level=logging.CRITICAL,
                    runtime_env={"py_modules": list(map(str, modules))} if modules else None,
                )
            yield
        finally:
            ray.shutdown()


@contextmanager
def _admitted(address: str) -> Iterator[None]:
    """For the block this process may join; it shows its token where the cluster wants one.

    `ray start` does so by itself where there is a token, `ray.init` does not.
    """
    refusal = _refusal(address)
    shows = refusal == _GUARDED and _MODE not in os.environ
    try:
        if shows:
            os.environ[_MODE] = "token"
            read_token()
            refusal = _refusal(address)
        if refusal is not None:
            raise InputError(f"address: {address}: {refusal}")
        yield
    finally:
        if shows:
            del os.environ[_MODE]
            read_token()


def _keep_token_private() -> None:
    """Restricts Ray's token file, which every user of the machine can read, to its owner."""
    token = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    with suppress(OSError, RuntimeError):  # there is none, or it is not ours to change
        if token.is_file() and token.stat().st_uid == os.getuid():
            token.chmod(token.stat().st_mode & 0o700)


def _check_port(address: str) -> None:
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdigit():
        raise InputError(f"address: {address!r} is neither auto nor host:port")
    try:
        socket.create_connection((host, int(port)), timeout=_CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise InputError(f"address: {address}: no connection: {last_words(error)}") from None


def _refusal(address: str) -> str | None:
    """Why a child process could not join, if so: Ray's errors become one line."""
    env = {name: value for name, value in os.environ.items() if name not in _PATIENT}
    program = f"import ray; ray.init(address={address!r}, log_to_driver=False)"
    try:
        done = subprocess.run(  # noqa: S603  our own program
            [sys.executable, "-c", program],
            env=env | _IMPATIENT,
            capture_output=True,
            text=True,
            timeout=_JOIN_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"no answer in {_JOIN_SECONDS:.0f} s"
    known = (said for sign, said in _REFUSALS.items() if sign in done.stderr)
    return next(known, last_words(done.stderr)) if done.returncode else None
