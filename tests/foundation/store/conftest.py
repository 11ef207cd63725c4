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
