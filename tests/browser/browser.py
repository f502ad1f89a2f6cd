"""A real browser for pages, driven by the WebDriver protocol; skipped where there is none."""

import base64
import contextlib
import json
import shutil
import socket
import subprocess
import time
import urllib.request

import pytest

FLAGS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--window-size=1280,1000", "--force-device-scale-factor=1",
]  # fmt: skip


class Browser:
    """Chromium behind chromedriver."""

    def __init__(self, profile):
        driver, chromium = shutil.which("chromedriver"), shutil.which("chromium")
        if driver is None or chromium is None:
            pytest.skip("chromium and chromedriver are not installed (apt: chromium-driver)")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.process = subprocess.Popen(
            [driver, f"--port={self.port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        options = {"binary": chromium, "args": [*FLAGS, f"--user-data-dir={profile}"]}
        wanted = {
            "browserName": "chrome",
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"performance": "ALL", "browser": "ALL"},
        }
        self.path = ""
        deadline = time.monotonic() + 60
        while True:  # until the driver listens
            try:
                made = self.call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
                break
            except ConnectionError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
        self.path = f"/session/{made['sessionId']}"

    def call(self, method, path, body=None):
        """One command of the protocol."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{self.path}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
        )
        try:
            with urllib.request.urlopen(request, timeout=120) as response:
                return json.loads(response.read())["value"]
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(error.read().decode()[:600]) from error
        except urllib.error.URLError as error:
            raise ConnectionError(str(error)) from error

    def open(self, path):
        """Go to an address, or to a file by its own; what was logged before is forgotten."""
        self.log("performance")
        self.log("browser")
        url = path if isinstance(path, str) else path.resolve().as_uri()
        self.call("POST", "/url", {"url": url})

    def js(self, script, *arguments):
        """Run a script in the page and return what it returns."""
        return self.call("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def log(self, kind):
        """What has been logged since this was last asked."""
        return self.call("POST", "/se/log", {"type": kind})

    def requests(self, page):
        """The addresses that a page has asked for. (The browser's own first tab asks for some.)"""
        messages = [json.loads(entry["message"])["message"] for entry in self.log("performance")]
        asked = [m for m in messages if m["method"] == "Network.requestWillBeSent"]
        asked = [m["params"] for m in asked if m["params"]["documentURL"] == page.as_uri()]
        return [parameters["request"]["url"] for parameters in asked]

    def mouse(self, *moves):
        """Move, press and release the real pointer: (x, y), "down", "up"."""
        actions = []
        for move in moves:
            if move == "down" or move == "up":
                actions.append({"type": f"pointer{move.title()}", "button": 0})
            else:
                x, y = (round(value) for value in move)
                actions.append({"type": "pointerMove", "x": x, "y": y, "duration": 20})
        self.call(
            "POST",
            "/actions",
            {"actions": [{"type": "pointer", "id": "mouse", "actions": actions}]},
        )

    def keys(self, script, text):
        """Type into the element that a script returns."""
        element = next(iter(self.js(script).values()))
        self.call("POST", f"/element/{element}/value", {"text": text})

    def click(self, script):
        """Click the element that a script returns."""
        element = next(iter(self.js(script).values()))
        self.call("POST", f"/element/{element}/click", {})

    def screenshot(self, path):
        """Write what is seen."""
        path.write_bytes(base64.b64decode(self.call("GET", "/screenshot")))

    def close(self):
        """End both programs."""
        with contextlib.suppress(ConnectionError, AssertionError):
            self.call("DELETE", "")
        self.process.terminate()
        self.process.wait(timeout=30)
