"""Places for stores: a folder, memory, and a bucket of a real S3 protocol served on this machine."""

from __future__ import annotations

import itertools

import pytest

_numbers = itertools.count()


@pytest.fixture(params=["folder", "memory", "s3"])
def place(request, tmp_path):
    """A place for a store: a folder, memory, or a bucket."""
    if request.param == "folder":
        return str(tmp_path / "store")
    if request.param == "memory":
        return f"memory://{tmp_path.name}-{next(_numbers)}/store"
    return f"{request.getfixturevalue('bucket')}/data/store"
