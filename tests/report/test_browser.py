from __future__ import annotations

import base64
import dataclasses
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

from trp_search import published, report
from trp_search.records import Latency, Point, TrialResult, to_json
from trp_search.store import RunFolder, append_record, write_whole

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
needs_browser = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None, reason="chromium and chromedriver are not installed"
)
PICTURES = Path(__file__).parents[2] / "screenshots"
pytestmark = [needs_browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--hide-scrollbars",
        f"--user-data-dir={tmp_path_factory.mktemp('chromium')}",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(executable_path=str(DRIVER)))
    yield driver
    driver.quit()


class Reader:
    """A person with a screen of a given width, in the dark or not."""

    def __init__(self, driver: webdriver.Chrome, page: Path, *, width: int, dark: bool) -> None:
        screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        for log in ("browser", "performance"):
            driver.get_log(log)
        self.driver, self.page = driver, page.as_uri()
        driver.get(self.page)

    def script(self, text: str) -> object:
        return self.driver.execute_script(f"return {text}")

    def one(self, selector: str):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def wait(self, text: str) -> None:
        WebDriverWait(self.driver, 10).until(lambda _: self.script(text), text)

    def read_to_the_end(self) -> list[str]:
        """Scrolls to every figure and waits until it is drawn; returns their names."""
        places = self.driver.find_elements(By.CSS_SELECTOR, ".drawing")
        for place in places:
            self.driver.execute_script("arguments[0].scrollIntoView()", place)
            name = place.get_attribute("id")
            marks = f"#{name} .scatterlayer .trace, #{name} .heatmaplayer image"
            self.wait(f"document.querySelector('{marks}') !== null")
        return [place.get_attribute("id") for place in places]

    def leave_picture(self, name: str) -> None:
        """The whole page, for people to look at: `screenshots/` is not kept by git."""
        PICTURES.mkdir(exist_ok=True)
        whole = {"format": "png", "captureBeyondViewport": True}
        found = self.driver.execute_cdp_cmd("Page.captureScreenshot", whole)
        (PICTURES / name).write_bytes(base64.b64decode(found["data"]))

    def complaints(self) -> list[str]:
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self) -> list[str]:
        """What the page asked for; the browser's own start page does not count."""
        events = [json.loads(e["message"])["message"] for e in self.driver.get_log("performance")]
        urls = [
            event["params"]["request"]["url"]
            for event in events
            if event["method"] == "Network.requestWillBeSent"
        ]
        return [url for url in urls if not url.startswith(("data:", "blob:", "chrome:"))]


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_page_draws_everything_fits_its_screen_and_asks_nobody(
    chromium: webdriver.Chrome,
    sample_run: RunFolder,
    width: int,
    dark: bool,
):
    reader = Reader(chromium, report.write(sample_run), width=width, dark=dark)
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


def test_naming_a_speedup_chooses_the_most_accurate_point_that_fast(
    chromium: webdriver.Chrome, sample_run: RunFolder
):
    reader = Reader(chromium, report.write(sample_run), width=1280, dark=False)
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


def slide_to(reader: Reader, value: str) -> None:
    reader.driver.execute_script(
        "const slide = document.getElementById('slide'); slide.value = arguments[0];"
        "slide.dispatchEvent(new Event('input'))",
        value,
    )


def test_the_slider_moves_along_the_front(chromium: webdriver.Chrome, sample_run: RunFolder):
    reader = Reader(chromium, report.write(sample_run), width=390, dark=False)
    points = [p for p in sample_run.read_points() if p.searched and p.accuracy >= 0.5]
    slide = reader.one("#slide")
    assert slide.get_attribute("max") == f"{max(p.speedup for p in points):.2f}"
    for budget in ("1", "1.5", "2.2", "2.9"):
        slide_to(reader, budget)
        fast = [p for p in points if p.speedup >= float(budget)]
        best = max(fast, key=lambda p: (p.accuracy, p.speedup))
        assert reader.one("#chosen h3").text == f"Point {best.id}"
        assert reader.one("#budget").get_attribute("value") == budget
    slide.send_keys(Keys.HOME)
    assert reader.one("#budget").get_attribute("value") == "1"


def test_a_point_that_is_selected_takes_the_slider_along(
    chromium: webdriver.Chrome, sample_run: RunFolder
):
    reader = Reader(chromium, report.write(sample_run), width=1280, dark=False)
    reader.one('tr[data-point="17"] button.point').click()
    assert reader.one("#chosen h3").text == "Point 17"
    assert reader.one("#slide").get_attribute("value") == "2.49"
    assert reader.script("location.hash") == "#point=17&by=macs"
    again = Reader(chromium, sample_run.report, width=1280, dark=False)
    again.driver.get(f"{again.page}#point=17&by=parameters")
    again.driver.refresh()
    assert again.one("#chosen h3").text == "Point 17"
    assert again.one("#axis").get_attribute("value") == "parameters"


def test_what_counts_can_be_switched_to_time(
    chromium: webdriver.Chrome, sample_run: RunFolder, make_latency: Callable[..., Latency]
):
    for name, low in (("7", 1.4), ("17", 1.1), ("2", 1.2)):
        append_record(sample_run.latencies, make_latency(name, target="laptop", low=low))
    reader = Reader(chromium, report.write(sample_run), width=1280, dark=False)
    reader.read_to_the_end()
    names = [option.text for option in reader.driver.find_elements(By.CSS_SELECTOR, "#axis option")]
    assert names == ["multiply-adds", "parameters", "time on laptop"]
    Select(reader.one("#axis")).select_by_visible_text("time on laptop")
    slide_to(reader, "1.15")
    # 17 is more accurate than 7 but is not known to be as fast.
    accurate = max(("7", "2"), key=lambda name: sample_run.point(name).accuracy)
    assert reader.one("#chosen h3").text == f"Point {accurate}"
    assert "time on laptop" in reader.one("#chosen .main").text
    title = "document.querySelector('#tradeoff .xtitle').textContent"
    reader.wait(f"{title} === 'speedup on the clock, laptop'")
    marks = "document.querySelectorAll('#tradeoff .points path').length"
    reader.wait(f"{marks} === 4")  # three points and the plain network
    slide_to(reader, "1.39")
    assert reader.one("#chosen h3").text == "Point 7"
    assert reader.complaints() == []


def test_hypervolume_is_shown_by_trials_or_by_hours(
    chromium: webdriver.Chrome, sample_run: RunFolder
):
    reader = Reader(chromium, report.write(sample_run), width=1280, dark=False)
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
    chromium: webdriver.Chrome, sample_run: RunFolder
):
    reader = Reader(chromium, report.write(sample_run), width=1280, dark=False)
    reader.read_to_the_end()
    plot = reader.one("#parallel")
    reader.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", plot)
    mark = plot.find_elements(By.CSS_SELECTOR, ".trace")[-1].find_element(
        By.CSS_SELECTOR, ".points path"
    )
    webdriver.ActionChains(chromium).move_to_element(mark).pause(0.3).click().perform()
    shown = reader.one("#parallel .hovertext").text
    chosen = reader.one("#chosen h3").text.removeprefix("Point ")
    assert f"point {chosen}, " in shown
    assert sample_run.point(chosen).role == "trial"


def test_published_rows_are_shown_when_asked_for(chromium: webdriver.Chrome, sample_run: RunFolder):
    text = sample_run.search.read_text().replace("small_resnet", "resnet20")
    sample_run.search.write_text(text.replace("data: digits", "data: {name: cifar10, root: none}"))
    reader = Reader(chromium, report.write(sample_run), width=390, dark=False)
    reader.read_to_the_end()
    assert "90.62 %" in reader.one("[aria-labelledby=published-title]").text
    marks = "document.querySelectorAll('#tradeoff .points path').length"
    before = reader.script(marks)
    reader.one("button.published").click()
    reader.wait(f"{marks} === {before} + {len(published.rows('resnet20', 'cifar10'))}")
    reader.one("button.published").click()
    reader.wait(f"{marks} === {before}")
    assert reader.script("document.documentElement.scrollWidth") == 390
    assert reader.complaints() == []


def test_two_points_are_compared_side_by_side(chromium: webdriver.Chrome, sample_run: RunFolder):
    reader = Reader(chromium, report.write(sample_run), width=1280, dark=False)
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


def test_the_chosen_network_s_layers_are_bars(chromium: webdriver.Chrome, sample_run: RunFolder):
    reader = Reader(chromium, report.write(sample_run), width=1280, dark=False)
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
        curves = line.find_elements(By.CSS_SELECTOR, "polyline")
        assert len(curves) == (layer.rank is not None)
        for curve in curves:
            assert len(curve.get_attribute("points").split()) == len(layer.spectrum)
        bar = line.find_element(By.CSS_SELECTOR, ".bar")
        share = line.find_element(By.CSS_SELECTOR, "i").rect["width"] / bar.rect["width"]
        assert share == pytest.approx(layer.macs / layer.dense_macs, abs=0.02)


def test_the_page_of_a_running_search_renews_itself(
    chromium: webdriver.Chrome, sample_run: RunFolder
):
    path = report.write(sample_run, running=True)
    reader = Reader(chromium, path, width=1280, dark=False)
    assert reader.script("report.running")
    assert reader.complaints() == []
    assert not Reader(chromium, report.write(sample_run), width=1280, dark=False).script(
        "report.running"
    )


def test_points_are_chosen_by_keyboard_and_the_focus_is_seen(
    chromium: webdriver.Chrome, sample_run: RunFolder
):
    reader = Reader(chromium, report.write(sample_run), width=1280, dark=False)
    reader.one("#budget").click()
    for _ in range(30):
        focused = chromium.switch_to.active_element
        focused.send_keys(Keys.TAB)
        focused = chromium.switch_to.active_element
        assert reader.script("getComputedStyle(document.activeElement).outlineStyle") != "none"
        if focused.text == "14":
            focused.send_keys(Keys.ENTER)
            break
    assert reader.one("#chosen h3").text == "Point 14"


def test_a_mark_is_chosen_by_a_click_and_hover_tells_what_it_is(
    chromium: webdriver.Chrome, sample_run: RunFolder
):
    reader = Reader(chromium, report.write(sample_run), width=1280, dark=False)
    reader.read_to_the_end()
    reader.driver.execute_script("document.getElementById('tradeoff').scrollIntoView()")
    mark = chromium.find_elements(By.CSS_SELECTOR, "#tradeoff .scatterlayer .trace")[-1]
    star = mark.find_element(By.CSS_SELECTOR, ".points path")
    webdriver.ActionChains(chromium).move_to_element(star).pause(0.3).click().perform()
    reader.wait("document.querySelector('#tradeoff .hoverlayer .hovertext') !== null")
    assert "validation accuracy: 97.0 %" in reader.one("#tradeoff .hovertext").text
    assert "test accuracy: 95.5 %" in reader.one("#tradeoff .hovertext").text
    assert reader.one("#chosen h3").text == "Plain network"
    assert not reader.one("#chosen .command").is_displayed()


def test_every_point_can_be_brought_into_view_and_sent_away_again(
    chromium: webdriver.Chrome, sample_run: RunFolder
):
    reader = Reader(chromium, report.write(sample_run), width=1280, dark=False)
    reader.read_to_the_end()
    floor = "document.getElementById('tradeoff')._fullLayout.yaxis.range[0]"
    before = reader.script(floor)
    assert before > 60
    reader.one("button.everything").click()
    reader.wait(f"{floor} < 10")
    reader.one("button.everything").click()
    reader.wait(f"{floor} === {before}")


def test_nothing_from_a_run_folder_runs(
    chromium: webdriver.Chrome, sample_run: RunFolder, make_point: Callable[..., Point]
):
    evil = "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>"
    point = make_point("50", correct=199, speedup=4.0, settings={evil: evil, "energy": 0.5})
    append_record(sample_run.points, dataclasses.replace(point, id=evil, batch_norm=evil))
    result = TrialResult(trial="50", points=(), failed=evil)
    write_whole(sample_run.trial("50").result, to_json(result))
    write_whole(sample_run.environment, json.dumps({"created": evil, evil: evil}))
    reader = Reader(chromium, report.write(sample_run), width=1280, dark=False)
    reader.read_to_the_end()
    reader.one("tr:last-child button.point").click()
    assert reader.one("#chosen h3").text == f"Point {evil}"
    assert reader.script("window.hacked === undefined")
    assert reader.complaints() == []
    assert reader.requests() == [reader.page]


def test_a_run_that_has_just_started_is_a_quiet_page(
    chromium: webdriver.Chrome, empty_run: RunFolder
):
    reader = Reader(chromium, report.write(empty_run), width=390, dark=False)
    assert reader.one(".lead").text == "Nothing has been scored yet."
    assert reader.script("document.documentElement.scrollWidth") == 390
    assert reader.complaints() == []
