from __future__ import annotations

from collections.abc import Iterator

import pytest

from trp_search.search import joining, page
from trp_search.search.page import RunningPage
from trp_search.store import RunFolder


@pytest.fixture(scope="module", autouse=True)
def one_ray() -> Iterator[None]:
    with joining.connected(None, modules=()):
        yield


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "_EVERY_SECONDS", 0.0)


def test_a_page_that_is_not_due_is_not_drawn(sample_run: RunFolder):
    running = RunningPage(sample_run, on_error=pytest.fail)
    running.refresh()
    running.close()
    assert not sample_run.report.exists()


@pytest.mark.slow
@pytest.mark.usefixtures("at_once")
def test_a_page_that_took_long_is_not_due_again_soon(sample_run: RunFolder):
    running = RunningPage(sample_run, on_error=pytest.fail)
    running.refresh()
    running.close()
    assert "</html>" in sample_run.report.read_text()
    sample_run.report.unlink()
    running.refresh()
    running.close()
    assert not sample_run.report.exists()


@pytest.mark.slow
@pytest.mark.usefixtures("at_once")
def test_why_a_page_was_not_written_is_told(sample_run: RunFolder):
    sample_run.points.write_text("no record\n" * 2)
    told: list[str] = []
    running = RunningPage(sample_run, on_error=told.append)
    running.refresh()
    running.close()
    assert len(told) == 1
    assert str(sample_run.points) in told[0]
