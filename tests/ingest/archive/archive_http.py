"""Two small HTTP servers on loopback, which record every request and can inject failures."""

import contextlib
import gzip
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


@dataclass
class Request:
    """One received request."""

    method: str
    path: str
    query: dict
    headers: dict
    raw_query: str = ""


@dataclass
class Fault:
    """A fault, injected ``times`` times into requests whose path contains ``match``.

    ``status``: answer with this status. ``cut``: end the body after this many bytes. ``flip``: change its first byte.
    ``whole``: ignore ranges. ``call``: call this before answering.
    """

    match: str
    times: int = 1
    status: int | None = None
    headers: dict = field(default_factory=dict)
    cut: int | None = None
    flip: bool = False
    whole: bool = False
    call: object = None


class Server:
    """A server in a thread. ``respond(request, fault)`` gives status, headers and body."""

    def __init__(self, respond):
        self.requests, self.faults = [], []
        self._lock = threading.Lock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self, respond))
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self):
        self._http.shutdown()
        self._http.server_close()

    def fault_for(self, request):
        with self._lock:
            self.requests.append(request)
            for fault in self.faults:
                if fault.times > 0 and fault.match in f"{request.path}?{request.raw_query}":
                    fault.times -= 1
                    return fault
        return None


def _handler(server, respond):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def do_GET(self):
            parts = urlsplit(self.path)
            query = {key: values[0] for key, values in parse_qs(parts.query, keep_blank_values=True).items()}
            headers = {key.lower(): value for key, value in self.headers.items()}
            request = Request(self.command, parts.path, query, headers, parts.query)
            fault = server.fault_for(request)
            if fault is not None and fault.call is not None:
                fault.call()
            if fault is not None and fault.status is not None:
                self._send(fault.status, {"Content-Type": "text/html", **fault.headers}, b"<html>a fault</html>")
                return
            self._send(*respond(request, fault), fault)

        do_HEAD = do_GET

        def _send(self, status, headers, body, fault=None):
            self.send_response(status)
            if isinstance(body, (dict, list, str)):
                body = json.dumps(body).encode()
                headers = {"Content-Type": "application/json", **headers}
                if "gzip" in self.headers.get("Accept-Encoding", ""):
                    body, headers = gzip.compress(body), {**headers, "Content-Encoding": "gzip"}
            if fault is not None and fault.flip and body:
                body = bytes([body[0] ^ 1]) + body[1:]
            for key, value in headers.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "HEAD":
                return
            if fault is not None and fault.cut is not None and fault.cut < len(body):
                self.wfile.write(body[: fault.cut])
                self.wfile.flush()
                self.close_connection = True
                self.connection.shutdown(2)
                return
            with contextlib.suppress(ConnectionError):  # the client closed early
                self.wfile.write(body)
                self.wfile.flush()

        def log_message(self, *args):
            pass

    return Handler
