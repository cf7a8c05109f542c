"""The page as it is drawn."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select

from trp_search import report
from trp_search.records import Point, TrialResult, published, to_json
from trp_search.store import RunFolder, append_record, write_whole

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_page_draws_everything_fits_its_screen_and_asks_nobody(
    open_page: Callable[..., Any],
    sample_run: RunFolder,
    width: int,
    dark: bool,
):
    reader = open_page(report.write(sample_run), width=width, dark=dark)
    drawn = reader.read_to_the_end()
    assert drawn[:4] == ["tradeoff", "volume", "training", "ranks"]
    assert len(drawn) > 4
    assert reader.script("document.documentElement.scrollWidth") == width
    reader.leave_picture(f"page-{width}-{'dark' if dark else 'light'}.png")
    assert reader.script("document.querySelectorAll('#tradeoff .points path').length") == 31
    ink = reader.script("getComputedStyle(document.querySelector('#tradeoff .xtick text')).fill")
    assert (sum(int(part) for part in ink[4:-1].split(",")) > 380) == dark
    assert reader.complaints() == []
    assert reader.requests() == [reader.page]


def test_hypervolume_is_shown_by_trials_or_by_hours(
    open_page: Callable[..., Any], sample_run: RunFolder
):
    reader = open_page(report.write(sample_run))
    reader.read_to_the_end()
    line = "document.getElementById('volume').data[0].x.at(-1)"
    trials = reader.script(line)
    reader.one("button.hours").click()
    reader.wait(f"{line} < {trials}")
    seconds = {p.trial: p.seconds for p in sample_run.read_points() if p.role != "control"}
    assert reader.script(line) == pytest.approx(sum(seconds.values()) / 3600)
    title = "document.querySelector('#volume .xtitle').textContent"
    assert reader.script(title) == "hours of training, all workers"
    reader.one("button.hours").click()
    reader.wait(f"{line} === {trials}")


def test_a_line_over_the_settings_chooses_its_trial(
    open_page: Callable[..., Any], sample_run: RunFolder
):
    reader = open_page(report.write(sample_run))
    reader.read_to_the_end()
    plot = reader.one("#parallel")
    reader.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", plot)
    mark = plot.find_elements(By.CSS_SELECTOR, ".trace")[-1].find_element(
        By.CSS_SELECTOR, ".points path"
    )
    webdriver.ActionChains(reader.driver).move_to_element(mark).pause(0.3).click().perform()
    shown = reader.one("#parallel .hovertext").text
    chosen = reader.one("#chosen h3").text.removeprefix("Point ")
    assert f"point {chosen}, " in shown
    assert sample_run.point(chosen).role == "trial"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_published_rows_are_shown_when_asked_for_in_ink(
    open_page: Callable[..., Any], famous_run: RunFolder, dark: bool
):
    reader = open_page(report.write(famous_run), width=390, dark=dark)
    reader.read_to_the_end()
    assert "90.62 %" in reader.one("[aria-labelledby=published-title]").text
    marks = "document.querySelectorAll('#tradeoff .points path').length"
    before = reader.script(marks)
    reader.one("button.published").click()
    reader.wait(f"{marks} === {before} + {len(published.rows('resnet20', 'cifar10'))}")
    *_, last = reader.driver.find_elements(By.CSS_SELECTOR, "#tradeoff .scatterlayer .trace")
    mark = last.find_element(By.CSS_SELECTOR, ".points path")
    assert mark.value_of_css_property("stroke") == reader.script(
        "getComputedStyle(document.body).color"
    )
    reader.leave_picture(f"published-390-{'dark' if dark else 'light'}.png")
    reader.one("button.published").click()
    reader.wait(f"{marks} === {before}")
    assert reader.script("document.documentElement.scrollWidth") == 390
    assert reader.complaints() == []


def test_the_chosen_network_s_layers_are_bars(open_page: Callable[..., Any], sample_run: RunFolder):
    reader = open_page(report.write(sample_run))
    reader.one('tr[data-point="7"] button.point').click()
    lines = reader.driver.find_elements(By.CSS_SELECTOR, "#layers li")
    layers = sample_run.point("7").layers
    assert len(lines) == len(layers)
    for line, layer in zip(lines, layers, strict=True):
        if layer.rank is None:
            said = f"dense: {layer.reason}"
        else:
            said = f"{layer.scheme}, rank {layer.rank} of {layer.full_rank}"
        assert line.text.split("\n") == [layer.name, said]
        numbers = f"keeps {layer.macs:,} of {layer.dense_macs:,} multiply-adds"
        assert line.get_attribute("title") == f"{layer.name}: {said}; {numbers}"
        assert line.get_attribute("aria-label") == line.get_attribute("title")
        curves = line.find_elements(By.CSS_SELECTOR, "polyline")
        assert len(curves) == (layer.rank is not None)
        for curve in curves:
            assert len(curve.get_attribute("points").split()) == len(layer.spectrum)
        bar = line.find_element(By.CSS_SELECTOR, ".bar")
        share = line.find_element(By.CSS_SELECTOR, "i").rect["width"] / bar.rect["width"]
        assert share == pytest.approx(layer.macs / layer.dense_macs, abs=0.02)


def test_a_mark_is_chosen_by_a_click_and_hover_tells_what_it_is(
    open_page: Callable[..., Any], sample_run: RunFolder
):
    reader = open_page(report.write(sample_run))
    reader.read_to_the_end()
    reader.driver.execute_script("document.getElementById('tradeoff').scrollIntoView()")
    mark = reader.driver.find_elements(By.CSS_SELECTOR, "#tradeoff .scatterlayer .trace")[-1]
    star = mark.find_element(By.CSS_SELECTOR, ".points path")
    webdriver.ActionChains(reader.driver).move_to_element(star).pause(0.3).click().perform()
    reader.wait("document.querySelector('#tradeoff .hoverlayer .hovertext') !== null")
    assert "validation accuracy: 97.0 %" in reader.one("#tradeoff .hovertext").text
    assert "test accuracy: 95.5 %" in reader.one("#tradeoff .hovertext").text
    assert reader.one("#chosen h3").text == "Baseline"
    assert not reader.one("#chosen .command").is_displayed()


def test_every_point_can_be_brought_into_view_and_sent_away_again(
    open_page: Callable[..., Any], sample_run: RunFolder
):
    reader = open_page(report.write(sample_run))
    reader.read_to_the_end()
    floor = "document.getElementById('tradeoff')._fullLayout.yaxis.range[0]"
    before = reader.script(floor)
    assert before > 60
    reader.one("button.everything").click()
    reader.wait(f"{floor} < 10")
    reader.one("button.everything").click()
    reader.wait(f"{floor} === {before}")


def test_every_point_can_be_brought_into_view_along_another_axis(
    open_page: Callable[..., Any], sample_run: RunFolder, make_point: Callable[..., Point]
):
    small = make_point("50", correct=30, speedup=2.0, parameters=8_000)
    append_record(sample_run.points, small)
    reader = open_page(report.write(sample_run))
    reader.read_to_the_end()
    Select(reader.one("#axis")).select_by_visible_text("parameters")
    smallest = "document.getElementById('tradeoff')._fullLayout.xaxis.range[1]"
    reader.wait(f"{smallest} < {small.dense_parameters / small.parameters}")
    reader.one("button.everything").click()
    reader.wait(f"{smallest} > {small.dense_parameters / small.parameters}")
    assert reader.complaints() == []


def test_the_copy_button_copies_the_command(open_page: Callable[..., Any], sample_run: RunFolder):
    reader = open_page(report.write(sample_run))
    reader.driver.execute_cdp_cmd(
        "Browser.grantPermissions",
        {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]},
    )
    command = reader.one("#chosen code").text
    assert command.startswith("trp-search export ")
    reader.one("#chosen .copy").click()
    reader.wait("document.querySelector('#chosen .copy').textContent !== 'Copy'")
    read = "navigator.clipboard.readText().then(arguments[0], arguments[0])"
    assert reader.driver.execute_async_script(read) == command


def test_nothing_from_a_run_folder_runs(
    open_page: Callable[..., Any], sample_run: RunFolder, make_point: Callable[..., Point]
):
    evil = "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>"
    point = make_point("50", correct=199, speedup=4.0, settings={evil: evil, "energy": 0.5})
    append_record(sample_run.points, dataclasses.replace(point, batch_norm=evil))
    result = TrialResult(trial="50", points=(), failed=evil)
    write_whole(sample_run.trial("50").result, to_json(result))
    write_whole(sample_run.environment, json.dumps({"created": evil, evil: evil}))
    reader = open_page(report.write(sample_run))
    reader.read_to_the_end()
    reader.one("tr:last-child button.point").click()
    assert reader.one("#chosen h3").text == "Point 50"
    assert reader.script("window.hacked === undefined")
    assert reader.complaints() == []
    assert reader.requests() == [reader.page]


def test_a_run_that_has_just_started_is_a_quiet_page(
    open_page: Callable[..., Any], empty_run: RunFolder
):
    reader = open_page(report.write(empty_run), width=390)
    assert reader.one(".lead").text == "Nothing has been scored yet."
    assert reader.script("document.documentElement.scrollWidth") == 390
    assert reader.complaints() == []


def test_the_legend_shows_all_of_its_entries_where_every_trial_misses_a_constraint(
    open_page: Callable[..., Any], sample_run: RunFolder
):
    space = sample_run.search.read_text().replace("accuracy: 0.5", "accuracy: 0.999")
    sample_run.search.write_text(space)
    reader = open_page(report.write(sample_run))
    reader.read_to_the_end()
    end = "document.querySelector('#tradeoff .legend .bg').getBoundingClientRect().bottom"
    entries = "[...document.querySelectorAll('#tradeoff .legend .traces')]"
    shown = reader.script(f"{entries}.map((e) => e.getBoundingClientRect().bottom <= {end} + 1)")
    assert len(shown) == 5
    assert all(shown)
