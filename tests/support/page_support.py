"""Finishing the reports of the results that tests/reporting writes, and a page in a browser."""

import json
from importlib.metadata import files
from pathlib import Path
from typing import Any

from favae.jobs.grid import Grid
from favae.results.cards import content_key, input_hashes, write_card
from favae.results.run_record import RunRecord, environment, write_run_record
from favae.stages import make_figures, make_tables
from favae.stages.context import Context


def finish_reports(root: Path) -> None:
    """Make tables, and the cards of the two reporting stages, in the working directory."""
    for stage in (make_tables, make_figures):
        job = Grid("tiny").job(stage.__name__.rpartition(".")[2], "all")
        outcome = make_tables.run(job, Context(root, root, 1)) if stage is make_tables else None
        hashes = input_hashes(job)
        job.card.parent.mkdir(parents=True, exist_ok=True)
        write_card(job, content_key(job, hashes), hashes, [Path(p) for p in outcome.published] if outcome else [], {})
    times = {"started": "2026-01-02T03:04:05+00:00", "ended": "2026-01-02T03:06:05+00:00", "seconds": 120.0}
    facts: dict[str, Any] = {"device": "cpu", "gpu_seconds": 0.0, "resumed": 0, "metrics": {}, "artifacts": []}
    for name in ("train_autoencoder/natural-f4-favae", "evaluate_reconstruction/natural-f4-favae-on-natural"):
        stage, cell = name.split("/")
        own = environment() | {"git_commit": "c0ffee" * 6 + "c0ff"}
        write_run_record(RunRecord(scale="tiny", stage=stage, cell=cell, key="0" * 64, **times, **facts, **own))


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
