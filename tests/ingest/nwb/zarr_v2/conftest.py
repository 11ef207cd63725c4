"""The fixture as hdmf-zarr wrote it, unpacked where a test may damage it."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import tarfile
import tracemalloc
from pathlib import Path

import pytest
from zarr.storage import LocalStore

from foundation.common.errors import SourceError
from ingest.nwb.read_log import Notes
from ingest.nwb.read_nwb import read_nwb
from ingest.nwb.zarr_v2.zarr_v2_arrays import LazyArray
from ingest.nwb.zarr_v2.zarr_v2_layout import read_layout

HERE = Path(__file__).parent
PACKED = HERE.parents[1] / "data" / "session.nwb.zarr.tar.xz"
TIMES = "units/spike_times"


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

    def refused(self, message: str) -> str:
        """Check that the store is refused by name for this reason; return the whole message."""
        with pytest.raises(SourceError, match=message) as caught:
            read_nwb(str(self))
        assert str(caught.value).startswith(f"{self}: ")
        return str(caught.value)

    def left_out(self, path: str, message: str) -> None:
        """Check that a part is left out for this reason, and that all spikes are read."""
        notes = Notes()
        assert read_nwb(str(self), notes=notes).n_spikes == 315
        left = {note.path: note.text for note in notes.left}
        assert re.search(message, left.get(path, "")), left
        assert notes["parts_left_out"] >= 1

    def peak_of_reading_times(self) -> int:
        """Return the bytes of memory taken until the spike times are refused; without pynwb, which is slow to trace."""
        store = LocalStore(self.place, read_only=True)
        tracemalloc.start()
        try:
            with pytest.raises((SourceError, TypeError, IndexError)):
                self._spike_times(store)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    @staticmethod
    def _spike_times(store: LocalStore):
        node = read_layout(store)[TIMES]
        if node.damage:
            raise SourceError(node.damage)
        return LazyArray(store, TIMES, node.array)[:]


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
