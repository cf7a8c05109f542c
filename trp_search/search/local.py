"""Ray for this machine alone: on loopback, with its own token and its own folder."""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import ray
import ray._private.ray_constants as ray_constants
from ray._private import services
from ray._private import utils as ray_utils
from ray._private.node import Node
from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]

from trp_search.search.patience import patient, tried
from trp_search.store import scratch

# The token is in the environment, so that no file holds it.
_TOKEN = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")

# Nobody asks them here, and they are half of a start: an autoscaler, a reader of logs, a dashboard.
_UNUSED = ("start_monitor", "start_log_monitor", "start_api_server")


@contextmanager
def local_ray(tell: Callable[[str], None]) -> Iterator[None]:
    """Runs a Ray of this machine for the block; `tell` hears what a start waits for.

    Raises:
        SearchError: it did not start, however often that was tried.
    """
    with scratch() as folder, _own_token(), unmoved_handlers():
        try:
            with patient(tell):
                tried(lambda: _start(folder / "ray"), tell=tell)  # Ray opens it to everybody
            yield
        finally:
            ray.shutdown()


def _start(folder: Path) -> None:
    with _loopback() as address, _fewer_processes():
        ray.init(
            address="local",
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.CRITICAL,
            _node_ip_address=address,
            _temp_dir=str(folder),
        )


@contextmanager
def _loopback() -> Iterator[str]:
    """Makes Ray start as on a desktop, with servers on loopback.

    Where Ray considers clusters possible it replaces a loopback address by the machine's own, and
    then listens on all interfaces.
    """
    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield services.get_node_ip_address()  # type: ignore[no-untyped-call]
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


@contextmanager
def _fewer_processes() -> Iterator[None]:
    """Makes Ray start what a search needs and no more."""
    given = {name: getattr(Node, name) for name in _UNUSED}
    for name in given:
        setattr(Node, name, _leave)
    try:
        yield
    finally:
        for name, start in given.items():
            setattr(Node, name, start)


@contextmanager
def _own_token() -> Iterator[None]:
    """Makes Ray require a token that only this search and its workers know."""
    before = {name: os.environ.pop(name, None) for name in _TOKEN}
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    read_token()
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        read_token()


def read_token() -> None:
    """Makes Ray read its mode and token again, which it does once otherwise."""
    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()


@contextmanager
def unmoved_handlers() -> Iterator[None]:
    """Prevents Ray from installing its SIGTERM handler, which ends the process on the spot."""
    given = ray_utils.set_sigterm_handler
    ray_utils.set_sigterm_handler = _leave
    try:
        yield
    finally:
        ray_utils.set_sigterm_handler = given


def _leave(*_: object, **__: object) -> None:
    """In place of what Ray would do."""
