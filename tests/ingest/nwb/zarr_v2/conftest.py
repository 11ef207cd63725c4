"""The fixture as hdmf-zarr wrote it, unpacked where a test may damage it."""

from __future__ import annotations

import importlib.util
import json
import shutil
import tarfile
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PACKED = HERE.parents[1] / "data" / "session.nwb.zarr.tar.xz"


@pytest.fixture(scope="session")
def whole(tmp_path_factory) -> Path:
    """The fixture; tests only read it."""
    place = tmp_path_factory.mktemp("zarr") / "session.nwb.zarr"
    with tarfile.open(PACKED) as archive:
        archive.extractall(place, filter="data")
    return place


class Folder:
    """A copy of the fixture, and ways to change it."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __str__(self) -> str:
        return str(self.place)

    def change(self, key: str, **values) -> None:
        """Set fields of ``.zarray`` or ``.zattrs``, in their file and in ``.zmetadata``."""
        whole = json.loads((self.place / ".zmetadata").read_text())
        own = whole["metadata"].setdefault(key, {})
        own.update(values)
        (self.place / key).write_text(json.dumps(own))
        (self.place / ".zmetadata").write_text(json.dumps(whole))

    def attributes(self, key: str) -> dict:
        return json.loads((self.place / key).read_text())

    def chunk(self, key: str, content: bytes) -> None:
        (self.place / key).write_bytes(content)

    def objects(self, path: str, content: bytes) -> None:
        """Make an array of objects hold these bytes as its only chunk, uncompressed."""
        self.change(f"{path}/.zarray", compressor=None)
        self.chunk(f"{path}/0", content)


@pytest.fixture(scope="session")
def light(whole, tmp_path_factory) -> Path:
    """The fixture without the specifications that pynwb has itself: most of its files."""
    place = tmp_path_factory.mktemp("light") / "session.nwb.zarr"
    shutil.copytree(whole, place)
    for name in ("core", "hdmf-common", "hdmf-experimental"):
        shutil.rmtree(place / "specifications" / name)
    metadata = json.loads((place / ".zmetadata").read_text())
    metadata["metadata"] = {key: value for key, value in metadata["metadata"].items() if (place / key).exists()}
    (place / ".zmetadata").write_text(json.dumps(metadata))
    return place


@pytest.fixture
def copy(light, tmp_path) -> Folder:
    place = tmp_path / "session.nwb.zarr"
    shutil.copytree(light, place)
    return Folder(place)


@pytest.fixture(scope="session")
def session():
    """The function that makes the same session in memory."""
    spec = importlib.util.spec_from_file_location("zarr_session", HERE / "session.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.session
