"""Files and folders as inputs: read into the cache once, and again if they change."""

import pynwb
import pytest

from foundation.common.errors import ConfigError, SourceError
from foundation.embedding import EmbedSettings, embed
from foundation.interop import to_nwb
from foundation.models import EIT, EITConfig
from foundation.store import Catalog, Store
from foundation.store.input_store import ingested, is_store


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def write(make_recording, tmp_path):
    (tmp_path / "mine").mkdir()

    def write(name, seed):
        with pynwb.NWBHDF5IO(tmp_path / "mine" / name, "w") as io:
            io.write(to_nwb(make_recording(seed, n_units=3, seconds=20.0)))
        return tmp_path / "mine" / name

    return write


def subjects(store):
    return sorted(row.subject for row in Catalog.open(Store(store)).records)


def test_file_is_read_once(write, tmp_path):
    path = write("a.nwb", 1)
    store = ingested(str(path))
    assert store.startswith(str(tmp_path / "cache"))
    assert subjects(store) == ["mouse1"]
    times = {p: p.stat().st_mtime_ns for p in (tmp_path / "cache").rglob("zarr.json")}
    assert ingested(str(path)) == store
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "cache").rglob("zarr.json")} == times


def test_changed_folder_is_read_again(write, tmp_path):
    write("a.nwb", 1), write("b.nwb", 2)
    store = ingested(str(tmp_path / "mine"))
    assert subjects(store) == ["mouse1", "mouse2"]
    (tmp_path / "mine" / "a.nwb").unlink()
    write("b.nwb", 3)
    assert ingested(str(tmp_path / "mine")) == store
    assert subjects(store) == ["mouse3"]


def test_store_is_used_directly(small_store):
    assert is_store(str(small_store))
    assert ingested(str(small_store)) == str(small_store)


def test_unreadable_input_is_named_and_leaves_nothing(tmp_path):
    (tmp_path / "broken.nwb").write_bytes(b"\x89HDF\r\n\x1a\nno more")
    with pytest.raises(SourceError, match=r"none of its files can be read; broken.nwb"):
        ingested(str(tmp_path / "broken.nwb"))
    with pytest.raises(SourceError):
        ingested(str(tmp_path / "nothing"))


def test_embeddings_match_the_given_file(write, tmp_path):
    EIT(EITConfig(dim=16, heads=2)).save_pretrained(tmp_path / "model")
    given = {"checkpoint": str(tmp_path / "model"), "output": str(tmp_path / "z")}
    done = embed(EmbedSettings(input=str(write("a.nwb", 1)), **given))
    assert len(done.names) == 1
    with pytest.raises(ConfigError, match="expected one of the two"):
        EmbedSettings(**given)
