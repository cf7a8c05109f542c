"""`trp-search latency`."""

from __future__ import annotations

import pytest

TIMES = "\N{MULTIPLICATION SIGN}"


def test_the_front_is_timed_once_and_shown(trp, run):
    ended = trp("latency", run.path, "--target", "laptop", "--seconds", "0.01")
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    timed = run.read_latencies()["laptop"]
    assert lines[0] == (
        f"Timing {len(timed)} networks on laptop: eager, 1 thread, batch 1, 8 x 8 pixels"
    )
    for point, latency in timed.items():
        row = next(line for line in lines if line.startswith(f"{point} "))
        assert f"{latency.speedup:.2f}{TIMES}" in row
        assert f"{latency.low:.2f} to {latency.high:.2f}" in row
    (page,) = (place for place, line in enumerate(lines) if line.startswith("  report  "))
    assert max(map(len, lines[:page])) <= 80
    assert "laptop" in run.report.read_text()
    again = trp("latency", run.path, "--target", "laptop")
    assert again.out.startswith("Timing 0 networks on laptop")
    assert run.read_latencies()["laptop"] == timed


def test_a_point_can_be_named(trp, run):
    ended = trp("latency", run.path, "--target", "a", "--point", "0", "--seconds", "0.01")
    assert ended.code == 0
    assert list(run.read_latencies()["a"]) == ["0"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--target", "a", "--runtime", "jax"], "target 'a': runtime: 'jax': "),
        (["--target", "a", "--seconds", "0"], "--seconds: 0 is not above 0"),
        (["--target", "a", "--threads", "none"], "'none' is not a whole number from 1 up"),
        (["--target", "a", "--batch", "9" * 14], "x 1 x 8 x 8 values do not fit in memory"),
        (["--target", "a", "--point", "77"], "no point '77'; there are 0, "),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(trp, run, words, said):
    ended = trp("latency", run.path, *words)
    assert ended.code == 2
    assert said in ended.err
    assert ended.err.count("\n") == 1
    assert not run.latencies.exists()
