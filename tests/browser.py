"""A headless Chromium that opens a page from disk, and what the tests ask of it.

Debian's packages are ``chromium`` and ``chromium-driver``; where there are none, the tests that need them are skipped.
"""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any, Iterator

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
FLAGS = ("--headless", "--no-sandbox", "--disable-component-update", "--window-size=1440,900")  # beside chromedriver's


class Page:
    """A page that is open in the browser."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, path: Path, fragment: str = "") -> Page:
        """Open the page, at a fragment of its address, and return when its charts are drawn."""
        self.driver.get("about:blank")  # a page that differs in its fragment alone would not be loaded again
        self.driver.get_log("browser")
        self.driver.get_log("performance")
        self.driver.get(path.as_uri() + fragment)
        self.wait_until_drawn()
        return self

    def wait_until_drawn(self) -> None:
        self.wait("return window.Bokeh !== undefined && Bokeh.documents.length > 0 && Bokeh.documents[0].is_idle")
        self.wait("return document.querySelector('#chosen span').textContent")

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def wait(self, script: str, *arguments: Any) -> Any:
        """Return what a script returns, as soon as that is true."""
        end = time.monotonic() + 20
        while time.monotonic() < end:
            value = self.run(script, *arguments)
            if value:
                return value
            time.sleep(0.02)
        raise AssertionError(f"it never became true: {script}")

    def all(self, selector: str) -> list[Any]:
        return list(self.driver.find_elements("css selector", selector))

    def text(self, selector: str) -> str:
        return self.run("return document.querySelector(arguments[0]).textContent", selector)

    def chosen(self) -> tuple[str, str]:
        """Return whose charts are drawn, and what is said of the comparison that is chosen."""
        return self.text("#chosen b"), self.text("#chosen span")

    def column(self, number: int = 1) -> list[str]:
        """Return the cells of a column of the rows that are shown, from the top: by default the tensors."""
        shown = "Array.from(document.querySelectorAll('#tensors tbody tr')).filter(row => row.offsetParent !== null)"
        return self.run(f"return {shown}.map(row => row.cells[arguments[0]].innerText)", number)

    def lines(self) -> dict[str, list[Any]]:
        """Return the columns of the line charts; None where a line breaks."""
        return self.run(
            """
            const lines = Bokeh.documents[0].get_model_by_name("lines").data;
            const values = column => Array.from(column, value => typeof value === "string" || Number.isFinite(value)
                ? value : null);
            return Object.fromEntries(Object.entries(lines).map(([name, column]) => [name, values(column)]));
            """
        )

    def choose(self, tensor: str, **more: Any) -> None:
        """Follow a link to a tensor, and to a step or worker of it."""
        names = {"tensor": tensor, **more}
        self.run("location.hash = new URLSearchParams(arguments[0]).toString().replaceAll('+', '%20')", names)
        self.wait("return document.querySelector('#chosen b').textContent.startsWith(arguments[0])", tensor)

    def box(self, selector: str) -> dict[str, float]:
        """Return where an element is in the window, in pixels."""
        return self.run("return document.querySelector(arguments[0]).getBoundingClientRect().toJSON()", selector)

    def style(self, selector: str, name: str) -> str:
        return self.run("return getComputedStyle(document.querySelector(arguments[0]))[arguments[1]]", selector, name)

    def emulate(self, command: str, **arguments: Any) -> Any:
        """Send one command of Chrome's protocol."""
        return self.driver.execute_cdp_cmd(command, arguments)

    def resize(self, width: int, height: int) -> None:
        """Give the window another size, until ``reset``."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.emulate("Emulation.setDeviceMetricsOverride", **size)

    def reset(self) -> None:
        """Undo ``resize``, and what media were emulated."""
        self.emulate("Emulation.clearDeviceMetricsOverride")
        self.emulate("Emulation.setEmulatedMedia", features=[])

    def point(self, tensor: str, step: float) -> None:
        """Move the mouse to a step in the strip of a tensor."""
        script = """
            const row = rows[tensors.indexOf(arguments[0])];
            row.scrollIntoView({block: "nearest"});
            const box = row.querySelector(".strip div").getBoundingClientRect();
            return [box.left + (box.width * (arguments[1] - left)) / width, box.top + box.height / 2];
        """
        self.mouse = dict(zip("xy", self.run(script, tensor, step)))
        self.emulate("Input.dispatchMouseEvent", type="mouseMoved", **self.mouse)

    def click(self, tensor: str, step: float) -> None:
        self.point(tensor, step)
        for kind in ("mousePressed", "mouseReleased"):
            self.emulate("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **self.mouse)

    def requests(self) -> list[str]:
        """Return every address that was asked for since the page was opened, except for the browser's own pages.

        Its new tab may still be loading; ``documentURL`` says whose a request is.
        """
        messages = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        return [
            message["params"]["request"]["url"]
            for message in messages
            if message["method"] == "Network.requestWillBeSent"
            and not message["params"]["documentURL"].startswith(("chrome:", "chrome-untrusted:"))
        ]


def browser(profile: Path) -> Iterator[Page]:
    """Give a page of a new browser with an empty profile, which ends with the test module."""
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("no chromium and chromedriver (Debian: apt-get install chromium chromium-driver)")
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    try:
        yield Page(driver)
    finally:
        driver.quit()
