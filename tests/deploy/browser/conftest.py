"""A real headless browser, driven by its own driver over the W3C WebDriver protocol.

Spoken directly, because the tests need ten commands of it and a client library would bring a dozen
packages into the gate.
"""

import base64
import contextlib
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
SECONDS_TO_START = 60
_LEVELS = {"browser": "ALL", "performance": "ALL"}


class Browser:
    """One session of the browser.

    Args:
        address: Where the driver listens.
        profile: An empty folder for everything that the browser keeps.
    """

    def __init__(self, address: str, profile: Path) -> None:
        self._address = address
        options = {"args": [*ARGUMENTS, f"--user-data-dir={profile}"]}
        options["binary"] = installed_browser()
        wanted = {"alwaysMatch": {"goog:chromeOptions": options, "goog:loggingPrefs": _LEVELS}}
        created = self._call("POST", "/session", {"capabilities": wanted})
        self._session = f"/session/{created['sessionId']}"

    def close(self) -> None:
        """End the session and with it the browser."""
        self._call("DELETE", self._session)

    def open(self, page: Path, width: int = 1200, dark: bool = False, script: bool = True) -> None:
        """Load a file at a width in CSS pixels, in light or dark colours."""
        media = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self._devtools("Emulation.setEmulatedMedia", {"media": "", "features": media})
        self._devtools("Emulation.setScriptExecutionDisabled", {"value": not script})
        self.resize(width)
        self.logs("browser")
        self.logs("performance")
        self._command("/url", {"url": page.as_uri()})

    def resize(self, width: int) -> None:
        """Give the open page another width, in CSS pixels."""
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self._devtools("Emulation.setDeviceMetricsOverride", size)

    def print_media(self) -> None:
        """Show the open page as it is printed."""
        self._devtools("Emulation.setEmulatedMedia", {"media": "print", "features": []})

    def run(self, script: str, *arguments: Any) -> Any:
        """Return what a JavaScript function body returns."""
        return self._command("/execute/sync", {"script": script, "args": arguments})

    def logs(self, kind: str) -> list[dict[str, Any]]:
        """Take the entries since the last call: of the console, or of the network."""
        return self._command("/se/log", {"type": kind})

    def requests(self) -> list[str]:
        """Take the addresses asked for since the page was opened, its own among them."""
        events = [json.loads(entry["message"])["message"] for entry in self.logs("performance")]
        sent = [one for one in events if one["method"] == "Network.requestWillBeSent"]
        return [one["params"]["request"]["url"] for one in sent]

    def screenshot(self, path: Path) -> None:
        """Write the whole page as a picture."""
        metrics = self._devtools("Page.getLayoutMetrics", {})["cssContentSize"]
        clip = {"x": 0, "y": 0, "scale": 1, **{k: metrics[k] for k in ("width", "height")}}
        wanted = {"format": "png", "captureBeyondViewport": True, "clip": clip}
        taken = self._devtools("Page.captureScreenshot", wanted)
        path.write_bytes(base64.b64decode(taken["data"]))

    def _devtools(self, command: str, parameters: dict[str, Any]) -> Any:
        return self._command("/goog/cdp/execute", {"cmd": command, "params": parameters})

    def _command(self, path: str, body: dict[str, Any]) -> Any:
        return self._call("POST", f"{self._session}{path}", body)

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._address + path, data, method=method)
        request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=SECONDS_TO_START) as response:
                return json.load(response)["value"]
        except urllib.error.HTTPError as error:
            with error:
                raise RuntimeError(f"{method} {path}: {error.read().decode()}") from None


def installed_browser() -> str | None:
    """The program by any of its names, or None."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((path for path in map(shutil.which, names) if path), None)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@contextlib.contextmanager
def running_driver(log: Path) -> Iterator[str]:
    """The driver as a process of its own; gives its address."""
    port = free_port()
    command = [shutil.which("chromedriver") or "chromedriver", f"--port={port}"]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + SECONDS_TO_START
        address = f"http://127.0.0.1:{port}"
        while True:
            try:
                urllib.request.urlopen(f"{address}/status", timeout=5).close()
                break
            except OSError:
                if time.monotonic() > deadline or process.poll() is not None:
                    raise RuntimeError(f"chromedriver does not answer: {log.read_text()}") from None
                time.sleep(0.1)
        yield address
    finally:
        process.terminate()
        process.wait(timeout=SECONDS_TO_START)


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser for all tests; they open a page of their own each."""
    if installed_browser() is None or shutil.which("chromedriver") is None:
        reason = "no chromium with its chromedriver: apt-get install chromium chromium-driver"
        if os.environ.get("KERAS_TREE_REQUIRE_SHARED"):
            pytest.fail(f"KERAS_TREE_REQUIRE_SHARED is set, but there is {reason}")
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("browser")
    with running_driver(folder / "driver.log") as address:
        one = Browser(address, folder / "profile")
        try:
            yield one
        finally:
            one.close()


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str], Path]:
    """Write a page to a file of its own."""

    def write(page: str) -> Path:
        path = tmp_path / "report.html"
        path.write_text(page, encoding="utf-8")
        return path

    return write
