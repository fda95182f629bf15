"""A server on this machine that answers as it is told, notes every request, and goes wrong when it is asked to."""

import dataclasses
import gzip
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit


class FakeClock:
    """Time that passes only by waiting."""

    def __init__(self, start=1_800_000_000.0):
        self.now = start
        self.slept = []

    def time(self):
        return self.now

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds


@dataclasses.dataclass
class Request:
    path: str
    query: dict
    headers: dict
    at: float
    number: int


@dataclasses.dataclass
class Answer:
    body: bytes = b""
    status: int = 200
    headers: dict = dataclasses.field(default_factory=dict)
    cut: int | None = None
    """Send only so many bytes, though Content-Length names all."""
    chunked: bool = False


def as_json(value, status=200):
    return Answer(json.dumps(value, ensure_ascii=False).encode(), status, {"Content-Type": "application/json"})


def packed(answer):
    return dataclasses.replace(
        answer, body=gzip.compress(answer.body), headers=answer.headers | {"Content-Encoding": "gzip"}
    )


class Server:
    """Use with `with`. `answer(request)` gives an Answer; `faults[n](request, answer)` replaces that of request n."""

    def __init__(self, answer, clock=None):
        self.answer, self.clock = answer, clock
        self.faults = {}
        self.requests = []
        self.on_request = None
        self.most_at_once = self._now = 0
        self._lock = threading.Lock()

    def __enter__(self):
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                outer._handle(self)

            def log_message(self, *args):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *args):
        self._server.shutdown()
        self._server.server_close()

    def _handle(self, handler):
        with self._lock:
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
            parts = urlsplit(handler.path)
            at = self.clock.time() if self.clock else time.time()
            request = Request(
                parts.path, dict(parse_qsl(parts.query)), dict(handler.headers), at, len(self.requests) + 1
            )
            self.requests.append(request)
        try:
            if self.on_request:
                self.on_request(request)
            answer = self.answer(request)
            fault = self.faults.get(request.number)
            self._send(handler, fault(request, answer) if fault else answer)
        except (BrokenPipeError, ConnectionResetError):
            pass
        finally:
            with self._lock:
                self._now -= 1

    def _send(self, handler, answer):
        if answer is None:  # say nothing at all
            handler.close_connection = True
            handler.connection.close()
            return
        handler.send_response(answer.status)
        for name, value in answer.headers.items():
            handler.send_header(name, value)
        if answer.chunked:
            handler.send_header("Transfer-Encoding", "chunked")
            handler.end_headers()
            for at in range(0, len(answer.body), 1000):
                piece = answer.body[at : at + 1000]
                handler.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            if answer.cut is None:
                handler.wfile.write(b"0\r\n\r\n")
            else:
                handler.close_connection = True
            return
        if answer.status not in (204, 304):
            handler.send_header("Content-Length", str(len(answer.body)))
        handler.end_headers()
        handler.wfile.write(answer.body if answer.cut is None else answer.body[: answer.cut])
        if answer.cut is not None:
            handler.close_connection = True


def status(code, **headers):
    """A fault: another status."""
    named = {name.replace("_", "-"): str(value) for name, value in headers.items()}
    return lambda request, answer: Answer(b"busy", code, named)


def cut(request, answer):
    """A fault: the connection ends in the middle of the body."""
    return dataclasses.replace(answer, cut=len(answer.body) // 2)


def cut_chunked(request, answer):
    return dataclasses.replace(answer, cut=0, chunked=True)


def broken_gzip(request, answer):
    body = gzip.compress(answer.body)
    return Answer(body[: len(body) // 2], 200, answer.headers | {"Content-Encoding": "gzip"})


def not_gzip(request, answer):
    return Answer(answer.body, 200, answer.headers | {"Content-Encoding": "gzip"})


def silent(request, answer):
    return None


def ranged(data, request, etag='"v1"', ranges=True):
    """A file as a server with ranges gives it."""
    headers = {"ETag": etag, "Accept-Ranges": "bytes"}
    wanted = request.headers.get("Range")
    if not ranges or not wanted or request.headers.get("If-Range", etag) != etag:
        return Answer(data, 200, headers)
    start = int(wanted.removeprefix("bytes=").split("-")[0])
    if start >= len(data):
        return Answer(b"", 416, headers | {"Content-Range": f"bytes */{len(data)}"})
    return Answer(data[start:], 206, headers | {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"})
