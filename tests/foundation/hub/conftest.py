"""A checkpoint, a separate cache for each test, and servers with faults."""

from __future__ import annotations

import hashlib
import importlib.util
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from foundation.hub.checkpoint_files import FILES
from foundation.models import EIT, EITConfig

_spec = importlib.util.spec_from_file_location("hub_stand_in", Path(__file__).with_name("hub_stand_in.py"))
_stand_in = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_stand_in)


@pytest.fixture(scope="session")
def saved(tmp_path_factory):
    """The folder of a small model; tests only read it."""
    folder = tmp_path_factory.mktemp("saved") / "model"
    EIT(EITConfig(dim=32, heads=2)).save_pretrained(folder)
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n# A small model\n")
    return folder


@pytest.fixture(scope="session")
def contents(saved):
    return {name: (saved / name).read_bytes() for name in (*FILES, "README.md")}


@pytest.fixture(scope="session")
def sha256(saved):
    """The digest of the small model, computed independently of the product."""
    return hashlib.sha256(b"".join((saved / name).read_bytes() for name in FILES)).hexdigest()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("FOUNDATION_CHECKPOINT_CACHE", str(folder))
    monkeypatch.setenv("FOUNDATION_LOCK_SECONDS", "20")
    return folder


class FaultyServer:
    """Serves files over HTTP with ranges and etags; the first ``cuts`` answers with weights break off."""

    def __init__(self, files):
        self.files, self.asked, self.sent = files, [], 0
        self.cuts, self.cut_from, self.ranges, self.status = 0, 0, True, 200
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_HEAD(self):
                self.do_GET()

            def do_GET(self):
                path, span = urlsplit(self.path).path, self.headers.get("Range")
                server.asked.append((self.command, path, span))
                content = server.files.get(path.strip("/"))
                if content is None or server.status != 200:
                    status = server.status if server.status != 200 else 404
                    self.send_response(status)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                first, last = 0, len(content) - 1
                if span and server.ranges:
                    low, _, high = span.removeprefix("bytes=").partition("-")
                    first, last = int(low), min(int(high or last), last)
                    self.send_response(206)
                    self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
                else:
                    self.send_response(200)
                body = content[first : last + 1]
                self.send_header("Accept-Ranges", "bytes" if server.ranges else "none")
                self.send_header("ETag", f'"{hashlib.md5(content).hexdigest()}"')
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command == "HEAD":
                    return
                if server.cuts and first >= server.cut_from and path.endswith(".safetensors"):
                    server.cuts -= 1
                    body = body[: len(body) // 2]
                    self.close_connection = True
                server.sent += len(body)
                self.wfile.write(body)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def web(contents):
    server = FaultyServer({f"eit/{name}": content for name, content in contents.items()})
    yield server
    server.close()


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub, with the client's cache and token in the test's folder."""
    server = _stand_in.Hub()
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)  # uploads as git-lfs does them
    yield server
    server.close()
