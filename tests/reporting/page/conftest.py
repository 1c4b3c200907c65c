"""The page of the results of the tests, built once, and a headless Chromium that shows it."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from page_support import Shown, finish_reports

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


@pytest.fixture
def page(browser: Any, site: Path) -> Shown:
    """The page, not yet loaded; logs of before are gone."""
    shown = Shown(browser, site)
    shown.requests(), shown.errors()
    return shown
