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
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,1600",
)

# Every text of the page, also of bokeh's shadow roots, and every element that matches a selector.
DEEP = """
const found = [];
const walk = root => {
  for (const element of root.querySelectorAll("*")) {
    if (element.matches(arguments[0])) found.push(element);
    if (element.shadowRoot) walk(element.shadowRoot);
  }
};
walk(document);
"""


class Page:
    """A page that is open in the browser."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver
        self.clicked = 0.0

    def open(self, path: Path, fragment: str = "") -> Page:
        """Open the page, at a fragment of its address, and return when it is drawn."""
        self.driver.get("about:blank")  # a page that differs in its fragment alone would not be loaded again
        self.driver.get_log("browser")
        self.driver.get_log("performance")
        self.driver.get(path.as_uri() + fragment)
        self.wait("return window.Bokeh !== undefined && Bokeh.documents.length > 0 && Bokeh.documents[0].is_idle")
        self.wait("return Bokeh.documents[0].get_model_by_name('shown').data.row[0] >= 0")
        return self

    def run(self, script: str, *arguments: Any) -> Any:
        """Return what a script returns."""
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

    def model(self, name: str, attribute: str) -> Any:
        """Return an attribute of the bokeh model of this name."""
        return self.run("return Bokeh.documents[0].get_model_by_name(arguments[0])[arguments[1]]", name, attribute)

    def shown(self, name: str) -> Any:
        """Return what the picture shows: its rows in order, or the row, point, step or text that is chosen."""
        return self.run("return Bokeh.documents[0].get_model_by_name('shown').data[arguments[0]][0]", name)

    def rows(self) -> list[str]:
        """Return the tensors of the rows that are shown, from the top."""
        return self.run(
            "const [shown, rows] = ['shown', 'rows'].map(name => Bokeh.documents[0].get_model_by_name(name).data);"
            "return Array.from(shown.rows[0], row => rows.tensor[row])"
        )

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
        self.wait(
            "const [shown, rows] = ['shown', 'rows'].map(name => Bokeh.documents[0].get_model_by_name(name).data);"
            "return rows.tensor[shown.row[0]] === arguments[0]",
            tensor,
        )

    def box(self, selector: str) -> dict[str, float]:
        """Return where an element is in the window, in pixels."""
        return self.run("return document.querySelector(arguments[0]).getBoundingClientRect().toJSON()", selector)

    def emulate(self, command: str, **arguments: Any) -> Any:
        """Send one command of Chrome's protocol."""
        return self.driver.execute_cdp_cmd(command, arguments)

    def resize(self, width: int, height: int) -> None:
        """Give the window another size, until ``reset``."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.emulate("Emulation.setDeviceMetricsOverride", **size)

    def darken(self) -> None:
        """Be the browser of a person who wants dark pages, until ``reset``."""
        features = [{"name": "prefers-color-scheme", "value": "dark"}]
        self.emulate("Emulation.setEmulatedMedia", features=features)

    def reset(self) -> None:
        """Undo ``resize`` and ``darken``."""
        self.emulate("Emulation.clearDeviceMetricsOverride")
        self.emulate("Emulation.setEmulatedMedia", features=[])

    def point(self, step: float, place: int) -> tuple[float, float]:
        """Return where the cell of a step in the row at a place is, in the viewport's pixels."""
        return tuple(
            self.run(
                """
                const heat = Bokeh.documents[0].get_model_by_name("heat");
                const view = Bokeh.index.find_one(heat);
                view.el.scrollIntoView({block: "center"});
                const box = view.canvas_view.el.getBoundingClientRect();
                const {x_scale, y_scale} = view.frame;
                return [box.left + x_scale.compute(arguments[0]), box.top + y_scale.compute(arguments[1])];
                """,
                step,
                place,
            )
        )

    def mouse(self, kind: str, x: float, y: float, **more: Any) -> None:
        """Send one event of the mouse."""
        self.driver.execute_cdp_cmd("Input.dispatchMouseEvent", {"type": kind, "x": x, "y": y, **more})

    def click(self, x: float, y: float) -> None:
        """Click at a place of the viewport, long enough after the last click not to be a double click."""
        time.sleep(max(0.0, self.clicked + 0.5 - time.monotonic()))
        self.clicked = time.monotonic()
        self.mouse("mouseMoved", x, y)
        self.mouse("mousePressed", x, y, button="left", clickCount=1)
        self.mouse("mouseReleased", x, y, button="left", clickCount=1)

    def element(self, selector: str) -> Any:
        """Return the first element that matches, also in a shadow root."""
        return self.wait(
            f"const own = document.querySelector(arguments[0]); if (own) return own; {DEEP} return found[0]", selector
        )

    def hover(self, step: float, place: int, text: str) -> str:
        """Return what is told of the cell of a step in the row at a place, as soon as that tells ``text``."""
        for near in (step - 0.1, step):
            self.mouse("mouseMoved", *self.point(near, place))
        script = DEEP + "return found.map(e => e.shadowRoot ? e.shadowRoot.textContent : e.textContent)"
        script += ".find(t => t.includes(arguments[1]))"
        return self.wait(script, ".bk-Tooltip, .bk-tooltip-content", text)

    def drawn_colors(self) -> int:
        """Return how many different colours the heat map's canvas shows: one where nothing is drawn."""
        return self.run(
            """
            const view = Bokeh.index.find_one(Bokeh.documents[0].get_model_by_name("heat"));
            const canvas = view.canvas_view.primary.el;
            const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
            return new Set(new Uint32Array(pixels.buffer)).size;
            """
        )

    def complaints(self) -> list[str]:
        """Return the errors in the console."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]

    def requests(self) -> list[str]:
        """Return every address that was asked for since the page was opened, but for the browser's own pages.

        Its new tab may still be loading; of a request ``documentURL`` tells whose it is.
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
