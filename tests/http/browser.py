"""A headless Chromium, driven over its DevTools protocol by the standard library."""

import base64
import contextlib
import itertools
import json
import os
import re
import socket
import struct
import subprocess
import urllib.parse
import urllib.request

WAIT_S = 30


class WebSocket:
    """As much of RFC 6455 as the DevTools speak: text, in frames of any size."""

    def __init__(self, url):
        parts = urllib.parse.urlsplit(url)
        self._sock = socket.create_connection((parts.hostname, parts.port), timeout=WAIT_S)
        key = base64.b64encode(os.urandom(16)).decode()
        self._sock.sendall(
            f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        self._file = self._sock.makefile("rb")
        assert b" 101 " in self._file.readline()
        while self._file.readline() != b"\r\n":
            pass

    def send(self, text):
        data, mask = text.encode(), os.urandom(4)
        head = struct.pack("!BBQ", 0x81, 0xFF, len(data)) + mask
        self._sock.sendall(head + bytes(byte ^ mask[at % 4] for at, byte in enumerate(data)))

    def receive(self):
        parts = []
        while True:
            first, size = self._file.read(2)
            if size >= 126:
                size = int.from_bytes(self._file.read(2 if size == 126 else 8), "big")
            parts.append(self._file.read(size))
            if first & 0x80:
                return b"".join(parts).decode()

    def close(self):
        self._file.close()
        self._sock.close()


class Session:
    """Calls to one target of the DevTools: the browser, or a page."""

    def __init__(self, url):
        self._socket, self._numbers = WebSocket(url), itertools.count(1)

    def call(self, method, **params):
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            message = json.loads(self._socket.receive())
            if message.get("id") == number:
                assert "error" not in message, message
                return message["result"]
            self._note(message)

    def _note(self, message):
        """Something happened."""

    def close(self):
        self._socket.close()


class Window(Session):
    """One page. `complaints`: what it wrote to its console as an error, and exceptions."""

    def __init__(self, url):
        super().__init__(url)
        self.complaints = []
        for domain in ("Runtime", "Log", "Page"):
            self.call(f"{domain}.enable")

    def _note(self, message):
        params = message.get("params", {})
        if message["method"] == "Runtime.exceptionThrown":
            self.complaints.append(params["exceptionDetails"])
        elif message["method"] == "Runtime.consoleAPICalled" and params["type"] == "error":
            self.complaints.append(params["args"])
        elif message["method"] == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.complaints.append(params["entry"])

    def run(self, script):
        """What the JavaScript gives, a promise's value when it is kept."""
        found = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def wait_for(self, condition):
        """Until the JavaScript `condition` is true."""
        assert self.run(
            f"new Promise((done) => {{ const end = Date.now() + {WAIT_S * 1000 - 5000};"
            f"(function look() {{ let found = false; try {{ found = !!({condition}); }} catch {{ /* not all of it is there */ }}"
            "if (found || Date.now() > end) done(found); else setTimeout(look, 50); })(); })"
        ), f"it did not come about: {condition}"

    def screenshot(self, path):
        with open(path, "wb") as file:
            file.write(
                base64.b64decode(self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"])
            )


class Browser:
    def __init__(self, address):
        self._address = address
        with urllib.request.urlopen(f"http://{address}/json/version", timeout=WAIT_S) as reply:
            self._session = Session(json.load(reply)["webSocketDebuggerUrl"])
        self._windows = []

    def open(self, url):
        """A Window, seen beside all others, that has begun to load `url`."""
        target = self._session.call("Target.createTarget", url="about:blank", newWindow=True)["targetId"]
        window = Window(f"ws://{self._address}/devtools/page/{target}")
        self._windows.append(window)
        window.call("Page.navigate", url=url)
        return window

    def close(self):
        for session in (*self._windows, self._session):
            session.close()


@contextlib.contextmanager
def running(program, folder):
    """A Browser with a profile in `folder`."""
    command = [program, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
               "--disable-background-networking", "--remote-debugging-port=0", f"--user-data-dir={folder}", "about:blank"]  # fmt: skip
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        try:
            for line in process.stderr:
                found = re.search(rb"DevTools listening on ws://([^/]+)/", line)
                if found:
                    browser = Browser(found[1].decode())
                    break
            else:
                raise AssertionError("the browser did not start")
            try:
                yield browser
            finally:
                browser.close()
        finally:
            process.kill()
            process.stderr.close()
