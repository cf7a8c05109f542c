"""What a reader chooses on the page, and what the page makes of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

from trp_search import report
from trp_search.report import contents, rows
from trp_search.store import RunFolder

pytestmark = pytest.mark.slow


def test_naming_a_speedup_chooses_the_most_accurate_point_that_fast(
    open_page: Callable[..., Any], sample_run: RunFolder
):
    reader = open_page(report.write(sample_run))
    reader.read_to_the_end()
    budget = reader.one("#budget")
    budget.send_keys(Keys.CONTROL, "a")
    budget.send_keys("2.3")
    assert reader.one("#chosen h3").text == "Point 17"
    assert reader.one("tr[aria-current]").get_attribute("data-point") == "17"
    assert "--point 17 --out" in reader.one("#chosen code").text
    ring = "document.getElementById('tradeoff').layout.shapes.find((s) => s.name === 'chosen')"
    reader.wait(f"Math.abs({ring}.xanchor - 2.4917) < 1e-3")
    budget.send_keys(Keys.CONTROL, "a")
    budget.send_keys("9")
    assert "the smallest reaches 3.39" in reader.one("#answer").text


def test_the_slider_moves_along_the_front(open_page: Callable[..., Any], sample_run: RunFolder):
    reader = open_page(report.write(sample_run), width=390)
    points = [p for p in sample_run.read_points() if p.searched and p.score.value >= 0.5]
    slide = reader.one("#slide")
    assert slide.get_attribute("max") == str(math.floor(100 * max(p.speedup for p in points)) / 100)
    for budget in ("1", "1.5", "2.2", "2.9"):
        reader.slide_to(budget)
        fast = [p for p in points if p.speedup >= float(budget)]
        best = max(fast, key=lambda p: (p.score.value, p.speedup))
        assert reader.one("#chosen h3").text == f"Point {best.id}"
        assert reader.one("#budget").get_attribute("value") == budget
    slide.send_keys(Keys.HOME)
    assert reader.one("#budget").get_attribute("value") == "1"


def test_a_point_that_is_selected_takes_the_slider_along(
    open_page: Callable[..., Any], sample_run: RunFolder
):
    reader = open_page(report.write(sample_run))
    reader.one('tr[data-point="17"] button.point').click()
    assert reader.one("#chosen h3").text == "Point 17"
    assert reader.one("#slide").get_attribute("value") == "2.49"
    assert reader.script("location.hash") == "#point=17&by=macs"
    again = open_page(sample_run.report)
    again.driver.get(f"{again.page}#point=17&by=parameters")
    again.driver.refresh()
    assert again.one("#chosen h3").text == "Point 17"
    assert again.one("#axis").get_attribute("value") == "parameters"


def test_two_points_are_compared_side_by_side(open_page: Callable[..., Any], sample_run: RunFolder):
    reader = open_page(report.write(sample_run))
    reader.read_to_the_end()
    reader.one('tr[data-point="17"] button.point').click()
    reader.one("button.compare").click()
    reader.one('tr[data-point="7"] button.point').click()
    assert reader.one("#chosen h3").text == "Point 7, Point 17"
    speedup = reader.one("#chosen .main div")
    assert speedup.text.split("\n") == ["speedup", "2.08\u00d7", "2.49\u00d7"]
    shapes = "document.getElementById('tradeoff').layout.shapes"
    reader.wait(f"{shapes}.filter((s) => s.name === 'chosen').length === 2")
    reader.one("button.compare").click()
    assert reader.one("#chosen h3").text == "Point 7"


class TestThePageOfARunningSearch:
    @pytest.fixture
    def renew(self, chromium: webdriver.Chrome) -> Iterator[Callable[[], None]]:
        """Lets the page's 20 seconds pass and waits until it is there again."""
        hold = (
            "{ const later = setTimeout; window.setTimeout = (act, ms, ...rest) =>"
            " ms === 20000 ? (window.renew = act) : later(act, ms, ...rest); }"
        )
        name = "Page.addScriptToEvaluateOnNewDocument"
        added = chromium.execute_cdp_cmd(name, {"source": hold})

        def wait() -> None:
            chromium.execute_script("window.old = true; renew()")
            new = "return !window.old && typeof renew === 'function'"
            WebDriverWait(chromium, 20).until(lambda driver: driver.execute_script(new))

        yield wait
        chromium.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)

    @pytest.fixture
    def find_better(self, add_point: Callable[..., None]) -> Callable[[RunFolder], None]:
        """Lets a search find point 50, which leads, and draw its page."""

        def find(run: RunFolder) -> None:
            add_point(run, "50", correct=197, speedup=4.0)
            report.write(run, running=True)

        return find

    def test_goes_on_to_a_better_leader_while_nothing_was_chosen(
        self,
        open_page: Callable[..., Any],
        sample_run: RunFolder,
        find_better: Callable[[RunFolder], None],
        renew: Callable[[], None],
    ):
        reader = open_page(report.write(sample_run, running=True))
        assert reader.script("location.hash") == ""
        before = reader.one("#chosen h3").text
        find_better(sample_run)
        assert reader.one("#chosen h3").text == before
        renew()
        assert reader.one("#chosen h3").text == "Point 50"
        assert reader.one("#slide").get_attribute("value") == "4"
        assert reader.complaints() == []

    def test_keeps_what_was_chosen(
        self,
        open_page: Callable[..., Any],
        famous_run: RunFolder,
        find_better: Callable[[RunFolder], None],
        renew: Callable[[], None],
    ):
        reader = open_page(report.write(famous_run, running=True))
        reader.read_to_the_end()
        reader.one('tr[data-point="17"] button.point').click()
        reader.one("button.compare").click()
        reader.one('tr[data-point="7"] button.point').click()
        reader.one("button.published").click()
        find_better(famous_run)
        renew()
        assert reader.script("Object.hasOwn(report.points, '50')")
        assert reader.one("#chosen h3").text == "Point 7, Point 17"
        assert reader.one("button.published").get_attribute("aria-pressed") == "true"
        Select(reader.one("#axis")).select_by_visible_text("parameters")
        renew()
        assert reader.one("#axis").get_attribute("value") == "parameters"
        assert reader.one("#chosen h3").text == "Point 7, Point 17"

    def test_keeps_a_budget_and_meets_it_better(
        self,
        open_page: Callable[..., Any],
        sample_run: RunFolder,
        find_better: Callable[[RunFolder], None],
        renew: Callable[[], None],
    ):
        reader = open_page(report.write(sample_run, running=True))
        reader.slide_to("2.3")
        assert reader.one("#chosen h3").text == "Point 17"
        find_better(sample_run)
        renew()
        assert reader.one("#chosen h3").text == "Point 50"
        assert reader.one("#budget").get_attribute("value") == "2.3"

    def test_ends_with_the_search(self, open_page: Callable[..., Any], sample_run: RunFolder):
        assert not open_page(report.write(sample_run)).script("report.running")


def test_arrow_keys_go_through_all_points_in_order(
    open_page: Callable[..., Any], sample_run: RunFolder
):
    reader = open_page(report.write(sample_run))
    reader.read_to_the_end()
    plot = reader.one("#tradeoff")
    card = reader.one("#chosen")
    assert card.get_attribute("aria-live") == "polite"
    points = rows.build(contents.read(sample_run)).comparable()
    order = sorted(points, key=lambda row: (row.point.speedup, -row.point.score.value))
    plot.send_keys(Keys.HOME)
    found = []
    for _ in order:
        found.append(reader.script("state.chosen"))
        assert reader.one("#chosen h3").text == reader.script(f"report.points['{found[-1]}'].title")
        plot.send_keys(Keys.ARROW_RIGHT)
    assert found == [row.point.id for row in order]
    assert reader.script("state.chosen") == found[-1]
    plot.send_keys(Keys.ARROW_LEFT)
    assert reader.script("state.chosen") == found[-2]
    plot.send_keys(Keys.END)
    assert reader.script("state.chosen") == found[-1]
    assert reader.script("document.activeElement.id") == "tradeoff"
    assert reader.script("getComputedStyle(document.activeElement).outlineStyle") != "none"
    assert reader.script("location.hash") == f"#point={found[-1]}&by=macs"


def test_points_are_chosen_by_keyboard_and_the_focus_is_seen(
    open_page: Callable[..., Any], sample_run: RunFolder
):
    reader = open_page(report.write(sample_run))
    reader.one("#budget").click()
    for _ in range(30):
        focused = reader.driver.switch_to.active_element
        focused.send_keys(Keys.TAB)
        focused = reader.driver.switch_to.active_element
        assert reader.script("getComputedStyle(document.activeElement).outlineStyle") != "none"
        if focused.text == "14":
            focused.send_keys(Keys.ENTER)
            break
    assert reader.one("#chosen h3").text == "Point 14"
