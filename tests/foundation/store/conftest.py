"""Places that hold stores: a folder, memory, and a bucket of a real S3 protocol served on this machine."""

from __future__ import annotations

import itertools
import json
import shutil
import zipfile
from pathlib import Path

import pytest

STORE_V1 = Path(__file__).parent / "data" / "store-v1.zip"
_numbers = itertools.count()


@pytest.fixture(scope="session")
def s3_server():
    """The URL of an S3 server that lives as long as the tests."""
    moto = pytest.importorskip("moto.server", reason="moto is not installed: pip install 'moto[server]'")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(s3_server, monkeypatch):
    """The URL of a new bucket."""
    boto3 = pytest.importorskip("boto3", reason="boto3 is not installed: pip install 'moto[server]'")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    name = f"bucket{next(_numbers)}"
    boto3.client("s3", endpoint_url=s3_server).create_bucket(Bucket=name)
    return f"s3://{name}"


@pytest.fixture(params=["folder", "memory", "s3"])
def place(request, tmp_path):
    """Where a store can be: a folder, memory, a bucket."""
    if request.param == "folder":
        return str(tmp_path / "store")
    if request.param == "memory":
        return f"memory://{tmp_path.name}-{next(_numbers)}/store"
    return f"{request.getfixturevalue('bucket')}/data/store"


@pytest.fixture
def store_of_schema_1(tmp_path) -> Path:
    """A store as the first version wrote it."""
    with zipfile.ZipFile(STORE_V1) as archive:
        archive.extractall(tmp_path / "v1")
    return tmp_path / "v1"


@pytest.fixture
def few_of_schema_1(store_of_schema_1) -> Path:
    """The same with three recordings: those of one file, which two recipes read, and of another."""
    kept = set()
    for name in (store_of_schema_1 / "commits").iterdir():
        record = json.loads(name.read_text(encoding="utf-8"))
        if record["path"] in ("sub-a/a.nwb", "sub-c/c.nwb"):
            kept.add(record["digest"])
        else:
            name.unlink()
    for group in (store_of_schema_1 / "recordings").iterdir():
        if group.name not in kept:
            shutil.rmtree(group)
    return store_of_schema_1
