"""A user's code that prints, ends the program or hangs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from trp_search.errors import InputError
from trp_search.workloads import guard
from trp_search.workloads.callables import called
from trp_search.workloads.guard import guarded

THEIRS = """\
import os, signal, subprocess, sys, time, warnings

def talk():
    print("from python")
    subprocess.run(["echo", "from a child"], check=True)
    os.write(1, b"from C\\n")
    return "value"

def leave(how):
    {"exit": sys.exit, "_exit": os._exit}[how](3)

def leave_in_silence():
    sys.exit()

def child():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pid = os.fork()
    if pid == 0:
        os._exit(7)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

def wait():
    time.sleep(600)

def wait_stubbornly():
    while True:
        try:
            time.sleep(600)
        except Exception:
            pass

def spin():
    while True:
        pass

def interrupt():
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(600)
"""


@pytest.fixture
def theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., object]:
    """Calls a function of a user's module."""
    (tmp_path / "their_code.py").write_text(THEIRS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "their_code", raising=False)

    def call(name: str, **options: str) -> object:
        return called(f"their_code:{name}", options, where="workload.data")

    return call


def test_what_it_prints_goes_to_stderr(theirs, capfd: pytest.CaptureFixture[str]):
    assert theirs("talk") == "value"
    os.write(1, b"after\n")
    found = capfd.readouterr()
    assert found.out == "after\n"
    assert sorted(found.err.splitlines()) == ["from C", "from a child", "from python"]


@pytest.mark.parametrize("how", ["exit", "_exit"])
def test_it_cannot_end_the_program(theirs, how: str):
    leave = os._exit
    with pytest.raises(InputError) as caught:
        theirs("leave", how=how)
    said = "workload.data: their_code:leave ended the program, with exit code 3"
    assert str(caught.value) == said
    assert os._exit is leave


def test_an_exit_at_import_is_told_too(theirs, tmp_path: Path):
    with pytest.raises(InputError, match=r"leave_in_silence ended the program, with exit code 0$"):
        theirs("leave_in_silence")
    (tmp_path / "gone.py").write_text("raise SystemExit('no licence')")
    with pytest.raises(InputError, match=r"gone:it ended the program, with exit code no licence$"):
        called("gone:it", {}, where="workload.network")


def test_its_children_may_end(theirs):
    assert theirs("child") == 7


@pytest.mark.parametrize(("name", "line"), [("wait", 24), ("wait_stubbornly", 29)])
def test_what_is_not_done_in_time_is_named_with_its_place(theirs, name: str, line: int):
    before = signal.getsignal(signal.SIGALRM)
    with pytest.raises(InputError) as caught, guarded("data x:y", seconds=0.05):
        theirs(name)
    assert str(caught.value) == (
        f"data x:y was not done after 0.05 s (in {name}, their_code.py line {line}); "
        "--timeout SECONDS allows more"
    )
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def test_what_never_comes_back_from_c_is_named_as_well():
    program = """
from trp_search.workloads import guard
guard._GRACE_SECONDS = 0.5
with guard.guarded("data x:y", seconds=0.1):
    sum(range(10**15))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == -signal.SIGKILL
    assert done.stderr == (
        "trp-search: data x:y was not done after 0.1 s, and cannot be interrupted; "
        "--timeout SECONDS allows more\n"
    )


def test_who_watches_ends_with_the_one_that_began_it():
    left_behind = [sys.executable, "-c", guard._WATCH, str(os.getpid()), "600", "late"]
    done = subprocess.run(left_behind, stdin=subprocess.DEVNULL, timeout=60, check=False)
    assert done.returncode == 0


def test_what_is_done_in_time_is_left_alone(theirs):
    with guarded("x", seconds=600.0):
        assert theirs("child") == 7
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def test_a_thread_has_a_limit_as_well(theirs):
    found: list[str] = []

    def work() -> None:
        with pytest.raises(InputError) as caught, guarded("x", seconds=0.05):
            theirs("spin")
        found.append(str(caught.value))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert "in spin, their_code.py line" in found[0]


def test_an_interrupt_arrives(theirs):
    with pytest.raises(KeyboardInterrupt), guarded("x", seconds=600.0):
        theirs("interrupt")
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
