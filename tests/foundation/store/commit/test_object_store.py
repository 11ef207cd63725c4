"""An object store with transient failures and rejected requests, and the error messages."""

import http.client
import logging
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest
import s3fs

from foundation.common.errors import StoreError
from foundation.store import Catalog, Store, StoredRecording, verify_store, write_recording
from foundation.store.commit.atomic_files import Files


class Unreliable(BaseHTTPRequestHandler):
    """Passes requests on to the real server; every fourth gets a 503 or is cut off, before or after it is done."""

    protocol_version = "HTTP/1.1"
    behind = ""
    turn = 0
    failed = 0
    lock = threading.Lock()

    def handle_any(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        cls = type(self)
        with cls.lock:
            cls.turn += 1
            turn = cls.turn
        if turn % 4 == 0 and turn % 12 != 8:
            cls.failed += 1
            if turn % 12 == 0:
                self.answer(503, {}, b"<Error><Code>SlowDown</Code><Message>slow down</Message></Error>")
            else:
                self.close_connection = True
            return
        connection = http.client.HTTPConnection(urlsplit(cls.behind).netloc, timeout=30)
        headers = {k: v for k, v in self.headers.items() if k.lower() != "connection"}
        connection.request(self.command, self.path, body, headers)
        response = connection.getresponse()
        content = response.read()
        if turn % 12 == 8:  # done, but the answer is lost
            cls.failed += 1
            self.close_connection = True
            return
        self.answer(response.status, dict(response.getheaders()), content)

    def answer(self, status, headers, content):
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "connection", "transfer-encoding"):
                self.send_header(name, value)
        length = headers.get("Content-Length", len(content)) if self.command == "HEAD" else len(content)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = handle_any

    def log_message(self, *_):
        pass


@pytest.fixture
def unreliable(bucket, s3_server, monkeypatch):
    """The bucket behind a server that fails now and then."""
    handler = type("Handler", (Unreliable,), {"behind": s3_server})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    s3fs.S3FileSystem.clear_instance_cache()
    yield bucket, handler
    server.shutdown()
    server.server_close()
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_transient_failures_are_hidden(unreliable, make_recording):
    url, server = unreliable
    store = Store(f"{url}/store", create=True)
    recording = make_recording(0, n_units=3, seconds=20.0)
    identity = write_recording(store, recording)
    assert len(Catalog.refresh(store)) == 1
    write_recording(store, make_recording(1, n_units=3, seconds=20.0))
    assert len(Catalog.refresh(store)) == 2
    assert (
        StoredRecording(Store(f"{url}/store"), identity).load().spikes.times.tobytes()
        == recording.spikes.times.tobytes()
    )
    verification = verify_store(store)
    assert verification.ok, str(verification)
    assert verification.left == []
    assert server.failed > 10


def test_unreachable_store_gives_a_one_line_error(bucket, monkeypatch):
    with pytest.raises(StoreError, match="there is no store at 's3://no-such-bucket/store'"):
        Store("s3://no-such-bucket/store")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(StoreError, match=r"cannot read .* credentials"):
        Store(f"{bucket}/store")
    s3fs.S3FileSystem.clear_instance_cache()


def test_credentials_are_not_logged_nor_stored(bucket, make_recording, caplog):
    caplog.set_level(logging.DEBUG, logger="foundation")
    store = Store(f"{bucket}/store", create=True)
    write_recording(store, make_recording(0, n_units=2, seconds=5.0))
    Catalog.refresh(store)
    verify_store(store)
    output = "".join(record.getMessage() for record in caplog.records if record.name.startswith("foundation"))
    stored = b"".join(store.fs.cat(store.fs.find(store.root)).values())
    for secret in ("test-key", "very-secret"):
        assert secret not in output
        assert secret.encode() not in stored


def test_password_in_a_url_is_not_shown(tmp_path):
    files = Files(tmp_path)
    files.url = "ftp://user:very-secret@host/store"
    assert files.name == "ftp://host/store"


def test_opening_a_recording_lists_nothing_and_reads_its_metadata_once(bucket, make_recording, monkeypatch):
    store = Store(f"{bucket}/store", create=True)
    identity = write_recording(store, make_recording(0, n_units=3, seconds=20.0))
    calls, real = [], s3fs.S3FileSystem._call_s3

    async def counted(self, method, *arguments, **named):
        calls.append(f"{method} {named.get('Key') or named.get('Prefix')}")
        return await real(self, method, *arguments, **named)

    monkeypatch.setattr(s3fs.S3FileSystem, "_call_s3", counted)
    recording = StoredRecording(Store(f"{bucket}/store"), identity)
    calls.clear()
    assert recording.n_units == 3
    assert recording.units["cell_type"].tolist()
    assert not [call for call in calls if "list" in call]
    assert len(calls) <= 4, calls
