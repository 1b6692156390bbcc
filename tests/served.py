"""A local HTTP server that serves bytes and misbehaves as it is told."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server(ThreadingHTTPServer):
    """Serves ``files`` by path.

    Attributes:
        files: what is served.
        asked: the path and range of every request so far, in order.
        cuts: by path, after how many bytes each next answer breaks off.
        statuses: by path, what each next answer says in place of the file.
        redirects: by path, where to go.
        rangeless: paths that are always sent whole.
        shifted: paths whose ranges begin elsewhere than they should.
        unsized: paths whose length is not told.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.asked: list[tuple[str, str | None]] = []
        self.cuts: dict[str, list[int]] = {}
        self.statuses: dict[str, list[int]] = {}
        self.redirects: dict[str, str] = {}
        self.rangeless: set[str] = set()
        self.shifted: set[str] = set()
        self.unsized: set[str] = set()

    def handle_error(self, request: object, client_address: object) -> None:
        """Keeps the terminal clean when a client hangs up."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *told: object) -> None:
        """Keeps the terminal clean."""

    def do_GET(self) -> None:
        server, path = self.server, self.path
        wanted = self.headers.get("Range")
        server.asked.append((path, wanted))
        if server.statuses.get(path):
            self.send_error(server.statuses[path].pop(0))
        elif path in server.redirects:
            self.send_response(302)
            self.send_header("Location", server.redirects[path])
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif path not in server.files:
            self.send_error(404)
        else:
            self._send(path, server.files[path], wanted)

    def _send(self, path: str, content: bytes, wanted: str | None) -> None:
        start = 0
        if wanted and path not in self.server.rangeless:
            found = re.fullmatch(r"bytes=(\d+)-", wanted)
            assert found, wanted
            start = int(found[1])
            if start >= len(content):
                self.send_error(416)
                return
            self.send_response(206)
            told = start + (path in self.server.shifted)
            self.send_header("Content-Range", f"bytes {told}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        if path not in self.server.unsized:
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        cuts = self.server.cuts.get(path)
        self.wfile.write(content[start : start + cuts.pop(0)] if cuts else content[start:])


@contextmanager
def serve() -> Iterator[Server]:
    """A running server."""
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
