"""A browser, and a person who reads a page in it."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from trp_search.records import Point
from trp_search.store import RunFolder, append_record

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
PICTURES = Path(__file__).parents[2] / "screenshots"


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("chromium and chromedriver are not installed")
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

    def __init__(
        self, driver: webdriver.Chrome, page: Path, *, width: int = 1280, dark: bool = False
    ) -> None:
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

    def slide_to(self, value: str) -> None:
        self.driver.execute_script(
            "const slide = document.getElementById('slide'); slide.value = arguments[0];"
            "slide.dispatchEvent(new Event('input'))",
            value,
        )

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


@pytest.fixture
def sample_run(sample_run: RunFolder) -> RunFolder:
    """The run with a file of weights for each trial's point, as a search leaves it."""
    for point in sample_run.read_points():
        if point.role == "trial":
            sample_run.weights(point).touch()
    return sample_run


@pytest.fixture
def add_point(make_point: Callable[..., Point]) -> Callable[..., None]:
    """Adds a point with a file of weights to a run."""

    def add(run: RunFolder, name: str, **given: Any) -> None:
        point = make_point(name, **given)
        append_record(run.points, point)
        run.weights(point).parent.mkdir(parents=True, exist_ok=True)
        run.weights(point).touch()

    return add


@pytest.fixture
def famous_run(sample_run: RunFolder) -> RunFolder:
    """The run, as if of a network and data that papers report."""
    text = sample_run.search.read_text().replace("small_resnet", "resnet20")
    sample_run.search.write_text(text.replace("data: digits", "data: {name: cifar10, root: none}"))
    return sample_run


@pytest.fixture
def open_page(
    chromium: webdriver.Chrome, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Reader]:
    """Opens a page in a wide, light window or another.

    All have one address: for every other one the browser compiles plotly again, for a second.
    """
    here = tmp_path_factory.getbasetemp() / "page"

    def read(page: Path, **options: Any) -> Reader:
        here.unlink(missing_ok=True)
        here.symlink_to(page.parent)
        return Reader(chromium, here / page.name, **options)

    return read
