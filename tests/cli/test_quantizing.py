from __future__ import annotations

import pytest

from trp_search.store import RunFolder


@pytest.mark.slow
def test_points_are_quantised_and_shown_beside_their_float_networks(trp, run: RunFolder):
    first = trp("quantize", run.path, "--point", "0")
    assert first.code == 0, first.err
    assert "Quantising 1 network for onnxruntime" in first.out
    (row,) = (line.split() for line in first.out.splitlines() if line.startswith("0-int8"))
    point = run.point("0-int8")
    assert " ".join(row[2:4]) == point.score.shown
    again = trp("quantize", run.path, "--point", "0")
    assert again.code == 0
    assert "Quantising" not in again.out
    assert "0-int8" in again.out
    assert run.read_all_points()[-1] == point


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--runtime", "eager"), "--runtime: 'eager' is none of onnxruntime, openvino"),
        (("--point", "7"), "no point '7'"),
        (("--max-drop", "0"), "--max-drop: 0 is not a finite number above 0"),
    ],
)
def test_what_cannot_be_quantised_is_one_line(trp, run: RunFolder, options, said: str):
    ended = trp("quantize", run.path, *options)
    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err
    assert ended.err.count("\n") == 1
