"""A temporary folder of one process, removed when it ends, even if it was killed."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from trp_search.errors import InputError

_PREFIX = "trp-ray-"
_LOCK = ".lock"
# The paths of Ray's sockets are 83 characters longer, and may have 107.
_LONGEST = 24
_ROOM = 2**20  # without so much Ray waits for minutes and blames the load


@contextmanager
def scratch() -> Iterator[Path]:
    """A new folder that only its owner reads; folders of killed processes are removed first.

    It lies where Ray's would: in `RAY_TMPDIR`, `TMPDIR` or `/tmp`.

    Raises:
        InputError: there is no such folder, no room in it, or no right to write there.
    """
    sweep_scratch()
    # Its name is only known once its lock is held, or another process might sweep it before.
    try:
        with tempfile.TemporaryFile(dir=_base()) as room:
            room.write(bytes(_ROOM))
            room.flush()
        made = Path(tempfile.mkdtemp(prefix=".new-", dir=_base()))
    except OSError as error:
        raise InputError(
            f"{_base()}: cannot hold Ray's temporary files: {error.strerror}; set RAY_TMPDIR to a "
            "folder that can"
        ) from None
    lock = FileLock(made / _LOCK)
    lock.acquire()
    folder = made.rename(made.with_name(made.name.replace(".new-", _PREFIX)))
    try:
        yield folder
    finally:
        _remove(folder)
        lock.release()


def sweep_scratch() -> bool:
    """Removes this user's folders whose processes are gone; returns whether none is left."""
    left = False
    for folder in _base().glob(f"{_PREFIX}*"):
        lock = FileLock(folder / _LOCK, timeout=0)
        try:
            ours = (folder / _LOCK).is_file() and folder.stat().st_uid == os.getuid()
            if folder.is_symlink() or not ours:
                continue
            with lock:
                _remove(folder)
            left |= folder.exists()
        except (OSError, Timeout):  # its process is alive, or another one sweeps
            continue
    return not left


def _remove(folder: Path) -> None:
    """Removes a folder, the lock last; one that a dying process still writes to goes later."""
    lock = folder / _LOCK
    for entry in folder.iterdir():
        if entry != lock:
            shutil.rmtree(entry, ignore_errors=True)
    if list(folder.iterdir()) == [lock]:
        lock.unlink()
        try:
            folder.rmdir()
        except OSError:  # written to in between: without its lock nobody would remove it
            lock.touch()


def _base() -> Path:
    given = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"  # noqa: S108  Ray's
    return Path(given if len(given) <= _LONGEST else "/tmp")  # noqa: S108
