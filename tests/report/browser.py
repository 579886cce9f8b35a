"""Headless Chromium over its debugging pipe: what a page logs, requests and shows. Needs no package."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any, Self

FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage --hide-scrollbars --remote-debugging-pipe"
).split()
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Browser:
    """One tab; ``events`` is everything it has reported."""

    def __init__(self, profile: Path) -> None:
        assert CHROMIUM is not None
        (to_read, self._write), (self._read, to_write) = _pipe(), _pipe()

        def wire() -> None:
            os.dup2(to_read, 3)
            os.dup2(to_write, 4)

        self._process = subprocess.Popen(
            [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            close_fds=False,
            preexec_fn=wire,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_read)
        os.close(to_write)
        self._pending, self._number, self._session = b"", 0, None
        self.events: list[dict[str, Any]] = []
        self.dialogs = 0
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._write)
        self._process.terminate()
        self._process.wait(timeout=20)
        os.close(self._read)

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command and wait for its answer."""
        self._number += 1
        number = self._post(self._number, method, params)
        while True:
            message = self._next()
            if message.get("id") == number:
                assert "error" not in message, message
                return dict(message["result"])

    def open(self, path: Path) -> None:
        """Open a file and wait until it is loaded."""
        self.events.clear()
        self.send("Page.navigate", url=path.resolve().as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self._next()
        self.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done, 100)))")

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression; promises are waited for."""
        answer = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def click(self, selector: str) -> None:
        """Click on an element as a person does."""
        found = f"document.querySelector({json.dumps(selector)})"
        self.evaluate(f"{found}.scrollIntoView({{block: 'center'}})")
        place = self.evaluate(
            f"(box => [box.x + box.width / 2, box.y + box.height / 2])({found}.getBoundingClientRect())"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=place[0], y=place[1], button="left", clickCount=1)

    def download(self, selector: str, folder: Path, timeout: float = 20.0) -> Path:
        """Click on an element and return the file that comes of it."""
        before = set(folder.iterdir())
        self.send("Page.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
        self.click(selector)
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            self.evaluate("new Promise(done => setTimeout(done, 50))")
            new = [path for path in set(folder.iterdir()) - before if path.suffix != ".crdownload"]
            if new and new[0].stat().st_size:
                return new[0]
        raise AssertionError(f"no file came of {selector}")

    def size(self, width: int, height: int) -> None:
        """Set the size of the window."""
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def scheme(self, name: str) -> None:
        """Prefer ``"light"`` or ``"dark"``."""
        self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def complaints(self) -> list[dict[str, Any]]:
        """Return console errors and warnings, uncaught exceptions and the browser's own log."""
        logged = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
        return [event for event in self.events if event["method"] in logged]

    def requests(self) -> list[str]:
        """Return the addresses asked for, apart from files and data inside the page."""
        sent = [event["params"] for event in self.events if event["method"] == "Network.requestWillBeSent"]
        urls = [params["request"]["url"] for params in sent]
        return [url for url in urls if not url.startswith(("data:", "blob:", "about:"))]

    def _post(self, number: int, method: str, params: dict[str, Any]) -> int:
        session = {"sessionId": self._session} if self._session else {}
        message = {"id": number, "method": method, "params": params} | session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        return number

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._pending:
            part = os.read(self._read, 1 << 20)
            assert part, "Chromium ended"
            self._pending += part
        line, _, self._pending = self._pending.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        if message.get("method") == "Page.javascriptDialogOpening":
            self.dialogs += 1
            self._number += 1
            self._post(self._number, "Page.handleJavaScriptDialog", {"accept": True})
        if "method" in message:
            self.events.append(message)
        return message


def _pipe() -> tuple[int, int]:
    """Return a pipe whose ends are above the two numbers that Chromium wants for itself."""
    ends = os.pipe()
    high = tuple(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends)
    for end in ends:
        os.close(end)
    return high[0], high[1]
