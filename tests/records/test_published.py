"""What papers report."""

from __future__ import annotations

import pytest

from trp_search.cli import main
from trp_search.records.published import rows


def test_the_paper_s_best_row_is_there_as_it_stands():
    (row,) = [row for row in rows("resnet20", "cifar10") if row.speedup == 2.84]
    assert (row.method, row.accuracy, row.baseline) == ("TRP + nuclear, channel", 0.9062, 0.9174)
    assert row.afterwards == "nothing"


def test_every_row_is_a_share_a_speedup_and_a_source():
    for row in rows():
        assert 0.5 < row.accuracy < 1
        assert row.baseline is None or abs(row.baseline - row.accuracy) < 0.1
        assert 1 < row.speedup < 5
        assert row.afterwards in ("nothing", "fine-tuned", "retrained", "not stated")
        assert row.source


def test_the_command_lists_them_and_refuses_what_it_does_not_know(
    capsys: pytest.CaptureFixture[str],
):
    assert main(["published", "--network", "resnet50"]) == 0
    out = capsys.readouterr().out
    assert "Decomposable-Net" in out
    assert "resnet20" not in out
    assert main(["published", "--network", "vgg7"]) == 2
    assert (
        "no published results for 'vgg7'; there are resnet20, resnet32" in capsys.readouterr().err
    )
