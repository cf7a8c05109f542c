"""Commands run in this process, watched: what they print, open, import, start and leave behind."""

from __future__ import annotations

import contextlib
import io
import os
import resource
import signal
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any
from unittest import mock

import torch

import trp_search
from trp_search import cli
from trp_search.errors import NothingFoundError, TrpSearchError

SECONDS = 20
BEGUN = "the first trial would start here"
_IDLE = 0.05  # seconds of work in five, where a command only waits
_AT_LAST = 120  # seconds, whatever it does
MORE_MEMORY = 3 << 30
_TOLD = {
    name: f"started a process: {name}"
    for name in ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "subprocess.Popen")
} | {
    name: f"reached for the network: {name}"
    for name in ("socket.connect", "socket.getaddrinfo", "urllib.Request")
}
_OTHERS = ("onnxruntime", "openvino", "executorch")
_QUIET = (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning)


class HangError(BaseException):
    """The command ran longer than it may; no `except Exception` stops it."""


@dataclass(kw_only=True)
class Outcome:
    """What a command did; `events` are deeds that it must not do."""

    code: int = 0
    out: str = ""
    err: str = ""
    error: BaseException | None = None
    hung: bool = False
    seconds: float = 0.0
    megabytes: float = 0.0
    events: list[str] = field(default_factory=list)

    def where(self) -> str:
        """The innermost line of the package that the unforeseen error came through."""
        frames = traceback.extract_tb(self.error.__traceback__) if self.error else []
        own = [frame for frame in frames if "/trp_search/" in frame.filename]
        if not own:
            return "outside the package"
        last = own[-1]
        return f"{last.filename.partition('/trp_search/')[2]}:{last.name}"


@dataclass
class _Watch:
    """Where the hook writes while a command runs; a hook cannot be taken away again."""

    canary: str = ""
    given: str = ""
    events: list[str] | None = None
    installed: bool = False


_WATCH = _Watch()


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _WATCH.events is not None and (deed := _deed(event, arguments)):
        _WATCH.events.append(deed)


def _deed(event: str, arguments: tuple[Any, ...]) -> str | None:
    """What an audit event of Python's says that a stranger's file must not bring about."""
    if event == "open" and isinstance(arguments[0], str | bytes):
        real = os.path.realpath(os.fsdecode(arguments[0]))
        if real.startswith(_WATCH.canary):
            return f"opened {real.removeprefix(_WATCH.canary)} outside the folder"
    elif event == "exec" and str(arguments[0].co_filename).startswith(_WATCH.given):
        return f"executed {Path(arguments[0].co_filename).name}"
    elif event == "pickle.find_class":
        return f"unpickled {arguments[0]}.{arguments[1]}"
    return _TOLD.get(event)


def spawned(words: Sequence[str], **_: object) -> subprocess.CompletedProcess[str]:
    """In place of `subprocess.run`: the package's own commands run here, other programs do not."""
    if list(words[1:3]) != ["-m", "trp_search"]:
        return subprocess.CompletedProcess(words, 1, "", "not run by the fuzzer")
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.main(list(words[3:]))
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())


def proven(
    words: Sequence[str], *, check: bool, timeout: float | None, **options: Any
) -> subprocess.CompletedProcess[str]:
    """In place of `subprocess.run`: a program that needs only PyTorch runs where it is loaded.

    A stranger's, which has a timeout, does not.
    """
    if timeout is not None or any(name in words[3] for name in _OTHERS):
        return subprocess.run(words, check=check, timeout=timeout, **options)
    with mock.patch.dict(sys.modules), mock.patch("sys.argv", ["-c", *words[4:]]):
        try:
            exec(words[3], {"__name__": "__main__"})  # noqa: S102  our own program
        except Exception:  # noqa: BLE001  it is told
            return subprocess.CompletedProcess(words, 1, "", traceback.format_exc())
    return subprocess.CompletedProcess(words, 0, "", "")


def _begun(search: object, workplace: object) -> None:
    """In place of the part of a search that needs Ray."""
    raise NothingFoundError(BEGUN)


@contextlib.contextmanager
def _without_ray() -> Iterator[None]:
    """A search is all that it is until its first trial would be handed to a worker."""
    nobody = {
        "slots": lambda _: 1,
        "cores": lambda _: 1,
        "devices": list,
    }
    with (
        mock.patch.multiple("trp_search.search.cluster", **nobody),
        mock.patch("trp_search.search.joining.connected", return_value=contextlib.nullcontext()),
        mock.patch("trp_search.search.driver.watched", return_value=contextlib.nullcontext()),
        mock.patch("trp_search.search.driver._Search.run", _begun),
    ):
        yield


def run(words: Sequence[str], *, given: Path, canary: Path, current: Path) -> Outcome:
    """Runs one command in the folder `current`; `load DIR` stands for `trp_search.load`."""
    outcome = Outcome()
    out, err = io.StringIO(), io.StringIO()
    began, before = time.perf_counter(), _resident()
    with (
        contextlib.chdir(current),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        _warnings_as_users_see_them(),
        _watched(outcome, given=given, canary=canary),
        mock.patch("subprocess.run", spawned),
        _without_ray(),
        _limited(),
    ):
        try:
            outcome.code = _load(words[1], outcome) if words[0] == "load" else _main(words, outcome)
        except HangError:
            outcome.hung = True
        except SystemExit as error:
            outcome.error = error
        except BaseException as error:  # noqa: BLE001  the fuzzer tells of it
            outcome.error = error
    outcome.out, outcome.err = out.getvalue(), err.getvalue()
    outcome.seconds = time.perf_counter() - began
    outcome.megabytes = max(0.0, _resident() - before)
    return outcome


def _main(words: Sequence[str], outcome: Outcome) -> int:
    made = cli.get_command

    def remembering(app: Any) -> Any:
        command = made(app)

        def call(**options: Any) -> Any:
            try:
                return command(**options)
            except Exception as error:
                outcome.error = error
                raise

        return call

    with mock.patch("trp_search.cli.get_command", remembering):
        code = cli.main(list(words))
    if isinstance(outcome.error, TrpSearchError) or code == 0:
        outcome.error = None
    return code


def _load(bundle: str, outcome: Outcome) -> int:
    """`trp_search.load`, which a program calls, ends as a command does."""
    try:
        trp_search.load(bundle)
    except TrpSearchError as error:
        return cli._say(str(error), code=error.exit_code)
    except Exception as error:  # noqa: BLE001  the fuzzer tells of it
        outcome.error = error
        return cli._say(f"{type(error).__name__}: {error} (unexpected)", code=1)
    return 0


@contextlib.contextmanager
def _watched(outcome: Outcome, *, given: Path, canary: Path) -> Iterator[None]:
    if not _WATCH.installed:
        sys.addaudithook(_hook)
        _WATCH.installed = True
    sys.path.append(str(canary))
    _WATCH.canary, _WATCH.given, _WATCH.events = str(canary), str(given), outcome.events
    try:
        yield
    finally:
        _WATCH.events = None
        sys.path.remove(str(canary))
        if sys.modules.pop("canary_module", None) is not None:
            outcome.events.append("imported canary_module")
        sys.path_importer_cache.pop(str(canary), None)
        outcome.events[:] = dict.fromkeys(outcome.events)


@contextlib.contextmanager
def _warnings_as_users_see_them() -> Iterator[None]:
    """On stderr, where they spoil the one line; those for programmers are hidden."""
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        for category in _QUIET:
            warnings.simplefilter("ignore", category)
        yield


@contextlib.contextmanager
def _limited() -> Iterator[None]:
    """20 seconds and 3 GB more than there were; where a GPU is in use memory is not limited.

    Seconds of work count, and seconds of waiting, but not those that other processes had.
    """
    began, threads = (time.perf_counter(), time.process_time()), torch.get_num_threads()

    def over(number: int, frame: FrameType | None) -> None:
        worked.append(time.process_time() - began[1])
        waits = len(worked) > 5 and worked[-1] - worked[-6] < _IDLE
        if waits or worked[-1] > SECONDS or time.perf_counter() - began[0] > _AT_LAST:
            raise HangError

    worked: list[float] = []  # at each second from the 20th
    torch.set_num_threads(1)
    handler = signal.signal(signal.SIGALRM, over)
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    if not torch.cuda.is_available():
        resource.setrlimit(resource.RLIMIT_AS, (_virtual() + MORE_MEMORY, hard))
    signal.setitimer(signal.ITIMER_REAL, SECONDS, 1)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        torch.set_num_threads(threads)


def _virtual() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def _resident() -> float:
    """The most megabytes that this process ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
