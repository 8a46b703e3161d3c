"""A headless Chromium, spoken to over a pipe: no driver to install, no port to open."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "chrome", "chrome-headless-shell")
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-extensions", "--disable-sync",
    "--no-default-browser-check", "--hide-scrollbars", "--mute-audio", "--remote-debugging-pipe",
)  # fmt: skip
ANSWER_S = 240.0
"""Longest that one command may take; a loaded machine needs minutes to start a browser."""


def find_chromium() -> str | None:
    """Path of a Chromium on this machine; None where there is none."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Browser:
    """One page in one Chromium process."""

    def __init__(self, program: str, *, profile: Path) -> None:
        self._profile = profile
        self._program = program
        self._id = 0
        self._session = ""
        self._buffer = b""
        self.events: list[dict[str, Any]] = []
        """Everything that the page reported since the last `forget`."""

    def __enter__(self) -> Self:
        read_commands, self._commands = os.pipe()
        self._answers, write_answers = os.pipe()
        # The protocol's descriptors are 3 and 4. bash moves them there: both may be taken in this process.
        script = f'exec "$0" "$@" 3<&{read_commands} 4>&{write_answers}'
        arguments = [*FLAGS, f"--user-data-dir={self._profile}", "about:blank"]
        self._process = subprocess.Popen(
            ["bash", "-c", script, self._program, *arguments],
            pass_fds=(read_commands, write_answers),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(read_commands)
        os.close(write_answers)
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call("Page.setLifecycleEventsEnabled", enabled=True)
        self.call("Performance.enable", timeDomain="threadTicks")
        self.size(1280, 900)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)  # Its own session: nothing but this browser is in it.
        self._process.wait()
        os.close(self._commands)
        os.close(self._answers)

    def call(self, method: str, **params: object) -> dict[str, Any]:
        """One command of the DevTools protocol. Raises RuntimeError with the browser's words when it is refused."""
        self._id += 1
        message: dict[str, object] = {"id": self._id, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._id:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)

    def _next(self) -> dict[str, Any]:
        end = time.monotonic() + ANSWER_S
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._answers], [], [], max(0.0, end - time.monotonic()))
            if not ready:
                raise TimeoutError(f"the browser said nothing for {ANSWER_S:.0f} s")
            chunk = os.read(self._answers, 1 << 20)
            if not chunk:
                raise RuntimeError(f"the browser ended with code {self._process.wait()}")
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(line)

    def open(self, url: str) -> None:
        """Navigate from an empty page and wait for the load event."""
        self._navigate("about:blank")
        self.events.clear()
        self._navigate(url)

    def _navigate(self, url: str) -> None:
        loader = self.call("Page.navigate", url=url)["loaderId"]
        while not any(_is_loaded(event, loader) for event in self.events):
            self.events.append(self._next())

    def ask(self, expression: str) -> Any:
        """Value of a JavaScript expression; a promise is waited for."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(json.dumps(answer["exceptionDetails"])[:800])
        return answer["result"].get("value")

    def until(self, expression: str) -> None:
        """Wait until the expression is true. A headless page draws when it is looked at: so it is, again and again."""
        end = time.monotonic() + ANSWER_S
        while not self.ask(expression):
            if time.monotonic() > end:
                raise TimeoutError(f"not true after {ANSWER_S:.0f} s: {expression}")
            self.call("Page.captureScreenshot", format="jpeg", quality=10)

    def key(self, key: str) -> None:
        """Press and release one key; printable ones type their character."""
        code = {"ArrowRight": 39, "ArrowLeft": 37, "Escape": 27, "Tab": 9, "Enter": 13}.get(key, 0)
        named = {"key": key, "windowsVirtualKeyCode": code, "code": key}
        text = {"text": key} if len(key) == 1 else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", **named, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", **named)

    def type(self, text: str) -> None:
        """Type into what has the focus."""
        self.call("Input.insertText", text=text)

    def size(self, width: int, height: int, *, phone: bool = False) -> None:
        """The viewport in CSS pixels."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)

    def busy_s(self) -> float:
        """Seconds of processor that the page's main thread has used, those of earlier pages of the process included."""
        metrics = self.call("Performance.getMetrics")["metrics"]
        return next(one["value"] for one in metrics if one["name"] == "TaskDuration")

    def loaded_s(self) -> float:
        """Seconds on the wall from the start of the navigation to the end of its load event."""
        return self.ask("performance.getEntriesByType('navigation')[0].loadEventEnd") / 1000

    def complaints(self) -> list[str]:
        """Exceptions, console errors and warnings, and violations of the page's own policy."""
        return [text for event in self.events if (text := _complaint(event.get("method", ""), event.get("params", {})))]

    def requests(self) -> list[str]:
        """What the page asked for beside itself and its embedded data."""
        urls = [
            event["params"]["request"]["url"]
            for event in self.events
            if event.get("method") == "Network.requestWillBeSent"
        ]
        return [url for url in urls[1:] if not url.startswith("data:")]

    def screenshot(self, file: Path) -> None:
        """The viewport as a PNG."""
        file.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))


def _is_loaded(event: Mapping[str, Any], loader: str) -> bool:
    """Whether this is the load event of exactly that document, not of the one before."""
    params = event.get("params", {})
    is_load = event.get("method") == "Page.lifecycleEvent" and params["name"] == "load"
    return is_load and params["loaderId"] == loader


def _complaint(method: str, params: Mapping[str, Any]) -> str:
    if method == "Runtime.exceptionThrown":
        return json.dumps(params["exceptionDetails"])[:500]
    if method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
        return json.dumps(params["args"])[:500]
    if method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
        return params["entry"]["text"]
    return ""
