"""The page of the results of the tests, built once, and a headless Chromium that shows it."""

import contextlib
import json
import shutil
from collections.abc import Iterator
from importlib.metadata import files
from pathlib import Path
from typing import Any

import pytest
from page_support import finish_reports

from favae.reporting.page.build import build
from favae.reporting.page.source import Source


@pytest.fixture(scope="session")
def site(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the built page; the project is `site.parent`."""
    root = tmp_path_factory.mktemp("page") / "project"
    shutil.copytree(built, root)
    with contextlib.chdir(root):
        finish_reports(root)
        build([Source.of("tiny")], Path("site"))
    return root / "site"


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A headless Chromium; tests are skipped where it or its driver is not installed."""
    webdriver = pytest.importorskip("selenium.webdriver")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("needs chromium and chromedriver (Debian: apt-get install chromium chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    running = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield running
    running.quit()


class Shown:
    """The page in the browser."""

    def __init__(self, driver: Any, site: Path) -> None:
        self.driver, self.site = driver, site

    def open(self, width: int = 1280, theme: str = "light", fragment: str = "") -> "Shown":
        """Load the page anew and scroll through it, so that images and charts are drawn."""
        self.driver.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": theme}]}
        )
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        self.driver.get("about:blank")
        self.driver.get((self.site / "index.html").as_uri() + fragment)
        self.wait("return document.readyState === 'complete' && !!window.favae.numbers")
        return self

    def scrolled(self) -> "Shown":
        """Bring gallery and curves near the window and wait until they are there."""
        self.run("document.getElementById('gallery').scrollIntoView({behavior: 'instant'})")
        self.wait("return document.querySelectorAll('#gallery .shot').length > 0")
        self.run("document.getElementById('curves').scrollIntoView({behavior: 'instant'})")
        self.wait("return document.querySelectorAll('#curves canvas').length > 0")
        return self

    def run(self, script: str, *arguments: Any) -> Any:
        """The value of a script."""
        return self.driver.execute_script(script, *arguments)

    def wait(self, condition: str) -> None:
        """Wait until a script returns true."""
        from selenium.webdriver.support.ui import WebDriverWait

        WebDriverWait(self.driver, 60, 0.05).until(lambda driver: driver.execute_script(condition))

    def click(self, selector: str) -> None:
        """Click an element as a person does, after bringing it into view."""
        self.run(
            "document.querySelector(arguments[0]).scrollIntoView({block: 'center', behavior: 'instant'})", selector
        )
        self.driver.find_element("css selector", selector).click()

    def keys(self, *keys: str) -> None:
        """Press keys."""
        from selenium.webdriver import ActionChains

        ActionChains(self.driver).send_keys(*keys).perform()

    def requests(self) -> list[str]:
        """Addresses that were asked since the last call."""
        messages = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        return [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]

    def errors(self) -> list[str]:
        """Messages of the console since the last call that are worse than a remark."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]

    def violations(self) -> list[str]:
        """Rules of accessibility (axe) that the page breaks as it is now, with the elements."""
        if not self.run("return !!window.axe"):
            path = next(file for file in files("axe-core-python") or [] if file.name == "axe.min.js").locate()
            self.driver.execute_script(Path(str(path)).read_text(encoding="utf-8"))
        found = self.driver.execute_async_script(
            "const done = arguments[0]; axe.run(document, {resultTypes: ['violations']}).then((r) => done(r.violations))"
        )
        return [
            f"{rule['id']}: {node['html'][:200]} {node['failureSummary'][:200]}"
            for rule in found
            for node in rule["nodes"]
        ]


@pytest.fixture
def page(browser: Any, site: Path) -> Shown:
    """The page, not yet loaded; logs of before are gone."""
    shown = Shown(browser, site)
    shown.requests(), shown.errors()
    return shown
