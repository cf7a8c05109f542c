"""Files that are complete or absent: replacing, appending, reading, locking."""

from __future__ import annotations

import errno
import fcntl
import glob
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, TypeVar

from filelock import FileLock, Timeout

from trp_search.errors import InputError
from trp_search.records import from_json, problem, to_json

T = TypeVar("T")

_MOST_BYTES = 2**30


def write_whole(path: Path, data: bytes | str) -> None:
    """Writes `data` to `path` so that a reader, or a crash, sees all of it or none."""
    with replacing(path) as temporary:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path; the file written there becomes `path` if the block does not raise.

    Raises:
        InputError: `path` exists and is no file, such as a folder.
    """
    if path.exists() and not path.is_file():
        raise InputError(f"{path}: is not a file")
    _make_room(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
        temporary.chmod(0o644)  # safetensors makes files that only their owner reads
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def building(target: Path) -> Iterator[Path]:
    """Yields a new folder beside `target`, to be renamed to it; otherwise it goes afterwards.

    It is locked while its process lives: those that killed processes left are removed first.
    """
    for left in target.parent.glob(f".{glob.escape(target.name)}.*.tmp"):
        with suppress(OSError), _locked(left):
            shutil.rmtree(left)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    temporary.mkdir(parents=True)
    try:
        with ExitStack() as lock:
            with suppress(OSError):  # a file system without locks
                lock.enter_context(_locked(temporary))
            yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Raises OSError for what is no folder or another process has locked."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def replace_record(path: Path, record: object) -> None:
    """As `write_whole`, without waiting for the disk: a crash of the machine may lose it."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        temporary.write_text(to_json(record))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def append_record(path: Path, record: object) -> None:
    """Adds one line; an unfinished line of an earlier crash is removed first."""
    _make_room(path)
    with _appending(path) as file:
        size = file.seek(0, os.SEEK_END)
        if size:
            file.seek(size - 1)
            if file.read(1) != b"\n":
                file.seek(0)
                file.truncate(file.read().rfind(b"\n") + 1)
        file.write(to_json(record).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def _make_room(path: Path) -> None:
    """Makes the folder of `path` and the one above; what is higher, such as a run, is not made."""
    for folder in (path.parent.parent, path.parent):
        folder.mkdir(exist_ok=True)


@contextmanager
def _appending(path: Path) -> Iterator[BinaryIO]:
    """The file open at its end; lines of other processes are complete or not begun."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o666)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise InputError(f"{path}: is a link; nothing is written through one") from None
    with os.fdopen(descriptor, "ab+") as file:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file


def read_records(path: Path, kind: type[T]) -> list[T]:
    """Every complete line of `path`, in order; an unfinished last line is left out."""
    records = []
    for number, line in enumerate((_bytes(path) or b"").split(b"\n")[:-1], start=1):
        if line:
            what = f"not a list of {kind.__name__} records: line {number}"
            records.append(_record(path, kind, line, what=what))
    return records


def read_record(path: Path, kind: type[T], *, what: str) -> T | None:
    """The one record of a file, or None if there is no file."""
    text = _bytes(path)
    return None if text is None else _record(path, kind, text, what=what)


def _bytes(path: Path) -> bytes | None:
    """The content of the file, or None if there is none."""
    try:
        found = path.stat()
        if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
            raise InputError(f"{path}: is not a file")
        if found.st_size > _MOST_BYTES:
            raise InputError(f"{path}: holds {found.st_size:,} bytes; at most {_MOST_BYTES:,}")
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None


def _record(path: Path, kind: type[T], text: bytes, *, what: str) -> T:
    try:
        return from_json(kind, text)
    except ValueError as error:
        raise InputError(f"{path}: {what}: {problem(error, kind)[:400]}") from None


@contextmanager
def exclusive(path: Path, *, wait_seconds: float, holder: str) -> Iterator[None]:
    """Holds the lock file `path`; raises InputError if another process holds it."""
    if path.is_symlink():
        raise InputError(f"{path}: is a link; a lock is a file of its own")
    lock = FileLock(path, timeout=wait_seconds)
    try:
        _make_room(path)
        lock.acquire()
    except Timeout:
        raise InputError(f"{path.parent}: {holder}") from None
    except NotImplementedError:
        raise InputError(f"{path.parent}: its file system has no locks; use another") from None
    except OSError as error:
        raise InputError(f"{path.parent}: cannot be locked: {error.strerror or error}") from None
    try:
        yield
    finally:
        lock.release()
