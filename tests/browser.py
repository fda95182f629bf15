"""A real browser without a screen, over its DevTools protocol on a pipe: what a page says, does and looks like.

    with browser.started() as shown: shown.open(path.as_uri(), width=480, dark=True).run("document.title")

It is skipped where there is no chromium, unless REQUIRE_BROWSER is 1.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = [
    f"--{name}"
    for name in (
        "headless", "no-sandbox", "disable-gpu", "hide-scrollbars", "no-first-run", "disable-extensions", "disable-sync",
        "disable-background-networking", "disable-component-update", "disable-dev-shm-usage", "remote-debugging-pipe",
    )
]  # fmt: skip


class Browser:
    """One browser, and the page that is open in it."""

    def __init__(self, program: str, folder: str) -> None:
        there, ours = os.pipe(), os.pipe()
        self.out, self.into, self.last, self.rest = there[1], ours[0], 0, b""
        self.events: list[dict[str, Any]] = []
        ends = (there[0], ours[1])

        def descriptors() -> None:  # it reads commands from 3 and writes answers to 4
            high = [os.dup(end) for end in ends]
            os.dup2(high[0], 3)
            os.dup2(high[1], 4)

        self.process = subprocess.Popen(
            [program, *FLAGS, f"--user-data-dir={folder}", "about:blank"], preexec_fn=descriptors, pass_fds=(3, 4, *ends),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        for end in ends:
            os.close(end)
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **given: Any) -> dict[str, Any]:
        """One command's answer; events on the way are kept."""
        self.last += 1
        session = {"sessionId": self.session} if hasattr(self, "session") else {}
        message = json.dumps({"id": self.last, "method": method, "params": given, **session})
        os.write(self.out, message.encode() + b"\0")
        until = time.monotonic() + 120
        while True:
            said = self._next(until, method)
            if said.get("id") == self.last:
                assert "error" not in said, (method, said["error"])
                return dict(said["result"])
            self.events.append(said)

    def _next(self, until: float, method: str) -> dict[str, Any]:
        while b"\0" not in self.rest:
            assert select.select([self.into], [], [], max(0.0, until - time.monotonic()))[0], f"no answer to {method}"
            part = os.read(self.into, 1 << 20)
            assert part, "the browser ended"
            self.rest += part
        one, _, self.rest = self.rest.partition(b"\0")
        return dict(json.loads(one))

    def open(self, address: str, width: int = 1500, height: int = 1000, dark: bool = False, media: str = "") -> Browser:
        """Load a page in a window of this size."""
        self.events.clear()
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.ask("Emulation.setEmulatedMedia", media=media, features=scheme)
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.ask("Emulation.setDeviceMetricsOverride", **size)
        self.ask("Page.navigate", url=address)
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")
        return self

    def run(self, script: str) -> Any:
        """The value of an expression on the page."""
        made = self.ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in made, made["exceptionDetails"]
        return made["result"].get("value")

    def wait(self, condition: str, seconds: float = 60.0) -> None:
        """Until an expression is true."""
        until = time.monotonic() + seconds
        while not self.run(condition):
            assert time.monotonic() < until, f"still not: {condition}"
            time.sleep(0.05)

    def asked_for(self) -> list[str]:
        """Addresses that the page asked for, itself first."""
        sent = [each["params"] for each in self.events if each.get("method") == "Network.requestWillBeSent"]
        return [each["request"]["url"] for each in sent]

    def complaints(self) -> list[str]:
        """What stands in the console: errors, warnings, exceptions, what the page's policy forbade."""
        found = []
        for each in self.events:
            given = each.get("params", {})
            if each.get("method") == "Runtime.exceptionThrown":
                found.append(str(given["exceptionDetails"].get("exception", {}).get("description", given)))
            elif each.get("method") == "Runtime.consoleAPICalled" and given["type"] in ("error", "warning", "assert"):
                found.append(str(given["args"]))
            elif each.get("method") == "Log.entryAdded" and given["entry"]["level"] in ("error", "warning"):
                found.append(given["entry"]["text"])
        return found

    def picture(self, path: Path) -> None:
        """The whole page as PNG."""
        size = self.ask("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        made = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        path.write_bytes(base64.b64decode(made["data"]))

    def overflow(self) -> int:
        """By how many pixels the page is wider than its window."""
        return int(self.run("document.documentElement.scrollWidth - document.documentElement.clientWidth"))

    def close(self) -> None:
        with contextlib.suppress(OSError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        os.close(self.out)
        os.close(self.into)


@contextlib.contextmanager
def started() -> Iterator[Browser]:
    """A browser; skips where there is none, unless REQUIRE_BROWSER is 1."""
    program = next((path for name in NAMES if (path := shutil.which(name))), None)
    if program is None:
        assert os.environ.get("REQUIRE_BROWSER") != "1", "no chromium (Debian: chromium fonts-noto-cjk)"
        pytest.skip("no chromium here (Debian: chromium fonts-noto-cjk)")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        made = Browser(program, folder)
        try:
            yield made
        finally:
            made.close()
