"""Processes that a dead child left behind are ended, and no other child is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux's orphans are adopted")

# A child that is killed once its own child, and that one's, sleep; another child sleeps on.
PROGRAM = """
import os, signal, subprocess, sys
from trp_search.cli.orphans import adopting, children, end_all

other = subprocess.Popen(["sleep", "60"])
nest = "import os,subprocess,sys; n = int(sys.argv[1]); " \\
    "p = n and subprocess.Popen([sys.executable, '-c', sys.argv[2], str(n - 1), sys.argv[2]]); " \\
    "print(os.getpid(), flush=True); os.read(0, 1)"
with adopting() as before:
    assert before == {other.pid}
    child = subprocess.Popen(
        [sys.executable, "-c", nest, "2", nest], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    pids = [int(child.stdout.readline()) for _ in range(3)]
    child.send_signal(signal.SIGKILL)
    child.wait()
    end_all(but=before)
    assert children() == before
left = [pid for pid in pids if os.path.exists(f"/proc/{pid}")]
assert other.poll() is None
other.kill()
print(left)
"""


def test_orphans_are_ended_with_all_below_them_and_other_children_are_not(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=tmp_path,
    )
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr
