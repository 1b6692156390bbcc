"""A headless Chromium that tests talk to over a pair of pipes, in its DevTools protocol."""

import base64
import io
import json
import os
import select
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe"),
    *("--no-first-run", "--disable-extensions", "--disable-background-networking"),
    *("--disable-dev-shm-usage", "--force-color-profile=srgb", "--hide-scrollbars"),
)
PATIENCE = 30  # seconds until an answer, on a busy machine
KEYS = {
    **{"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40},
    **{"Home": 36, "End": 35, "Escape": 27, "Enter": 13, "Tab": 9},
}


class Browser:
    """One page of a Chromium of its own, and everything it complained of or asked for.

    Attributes:
        complaints: exceptions, console errors and log entries, in words.
        requests: addresses that the page loaded, without those that hold their data.
    """

    def __init__(self, program: str, profile: Path) -> None:
        theirs_in, self._write = os.pipe()
        self._read, theirs_out = os.pipe()
        # The program reads file 3 and writes file 4, whatever numbers ours have.
        script = f'exec "$0" "$@" 3<&{theirs_in} 4>&{theirs_out}'
        self._process = subprocess.Popen(
            ["/bin/bash", "-c", script, program, *FLAGS, f"--user-data-dir={profile}"],
            pass_fds=(theirs_in, theirs_out),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._buffer, self._count, self._session = b"", 0, ""
        self._events: list[dict[str, Any]] = []
        self.complaints: list[str] = []
        self.requests: list[str] = []
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        attached = self._call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")

    def open(self, path: Path, *, width: int = 1280, height: int = 900, address: str = "") -> None:
        """Loads a file at a window's size, and forgets what was before."""
        self._call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        # A change of the hash alone would load nothing.
        self._call("Page.navigate", url="about:blank")
        self.evaluate("0")
        self._events, self.complaints, self.requests = [], [], []
        self._call("Page.navigate", url=path.resolve().as_uri() + address)
        self._wait(lambda: any(event["method"] == "Page.loadEventFired" for event in self._events))

    def evaluate(self, script: str) -> Any:
        """The value of a script in the page."""
        answer = self._call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def text(self, selector: str) -> str:
        """What an element says."""
        return self.evaluate(f"document.querySelector({json.dumps(selector)}).textContent")

    def press(self, key: str) -> None:
        """A key, down and up."""
        for kind in ("rawKeyDown", "keyUp"):
            self._call(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                code=key,
                windowsVirtualKeyCode=KEYS[key],
            )
        self._settle()

    def write(self, said: str) -> None:
        """Text into what has the focus."""
        self._call("Input.insertText", text=said)
        self._settle()

    def hover(self, selector: str) -> None:
        """The mouse over the middle of an element."""
        box = f"document.querySelector({json.dumps(selector)}).getBoundingClientRect()"
        x, y = self.evaluate(
            f"(({{x, y, width, height}}) => [x + width / 2, y + height / 2])({box})"
        )
        self._call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        self._settle()

    def click(self, selector: str) -> None:
        """An element, as a script clicks it."""
        self.evaluate(f"document.querySelector({json.dumps(selector)}).click()")
        self._settle()

    def choose(self, selector: str, value: str) -> None:
        """An option of a select, as a person would."""
        self.evaluate(
            f"(select => {{ select.value = {json.dumps(value)};"
            " select.dispatchEvent(new Event('change', {bubbles: true})); })"
            f"(document.querySelector({json.dumps(selector)}))"
        )
        self._settle()

    def screenshot(self, selector: str = "") -> NDArray[np.uint8]:
        """``(height, width, 3)`` of the window, or of one element."""
        options = {}
        if selector:
            box = f"document.querySelector({json.dumps(selector)}).getBoundingClientRect()"
            x, y, width, height = self.evaluate(
                f"(b => [b.x + scrollX, b.y + scrollY, b.width, b.height])({box})"
            )
            options["clip"] = {"x": x, "y": y, "width": width, "height": height, "scale": 1}
        data = self._call("Page.captureScreenshot", format="png", **options)["data"]
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))

    def close(self) -> None:
        """Ends the program, and waits until it has ended."""
        self._session = ""
        try:
            self._call("Browser.close")
            self._process.wait(PATIENCE)
        finally:
            self._process.kill()
            self._process.wait()
            os.close(self._write)
            os.close(self._read)

    def _settle(self) -> None:
        """Waits until what was done has been painted."""
        script = "new Promise(done => requestAnimationFrame(() => setTimeout(done)))"
        self._call("Runtime.evaluate", expression=script, awaitPromise=True)

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        answers: list[dict[str, Any]] = []
        number = self._count
        self._wait(lambda: bool(answers), lambda said: answers.append(said), number)
        assert "error" not in answers[0], f"{method}: {answers[0]['error']}"
        return answers[0].get("result", {})

    def _wait(self, done: Any, answered: Any = None, number: int = 0) -> None:
        """Reads messages until something is done."""
        end = time.monotonic() + PATIENCE
        while not done():
            ready, _, _ = select.select([self._read], [], [], max(0, end - time.monotonic()))
            assert ready, "the browser does not answer"
            data = os.read(self._read, 1 << 20)
            assert data, "the browser has ended"
            *messages, self._buffer = (self._buffer + data).split(b"\0")
            for message in map(json.loads, messages):
                if "id" not in message:
                    self._events.append(message)
                    self._note(message["method"], message["params"])
                elif message["id"] == number:
                    answered(message)

    def _note(self, method: str, said: dict[str, Any]) -> None:
        if method == "Runtime.exceptionThrown":
            self.complaints.append(str(said["exceptionDetails"]))
        elif method == "Log.entryAdded":
            self.complaints.append(said["entry"]["text"])
        elif method == "Runtime.consoleAPICalled" and said["type"] in {"error", "assert"}:
            self.complaints.append(str(said["args"]))
        elif method == "Network.requestWillBeSent":
            address = said["request"]["url"]
            if not address.startswith("data:"):
                self.requests.append(address)
