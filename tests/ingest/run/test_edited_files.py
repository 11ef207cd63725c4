"""Files outside an archive that were edited, copied, moved, linked or split by probe."""

import os
import shutil

import pytest

from foundation.store import Catalog, CatalogRow, Store, verify_store
from ingest.recipe.recipes import load_recipe
from ingest.run.worker import Work
from ingest.sources import find_assets


@pytest.fixture
def taken(tmp_path, write, nwb_maker):
    """A folder of one file, and a function that ingests a place and returns the trains of the catalog."""

    class Taken:
        store = Store(tmp_path / "store", create=True)
        recipe = load_recipe("default")

        @staticmethod
        def file(name, train, **changes):
            write(nwb_maker.add_trains(nwb_maker.new(**changes), [train]), f"nwb/{name}")

        def ingest(self, place="nwb"):
            for asset in find_assets(str(tmp_path / place)):
                receipt = Work(self.store.url, self.recipe)(asset)
                assert receipt.status in ("ingested", "skipped"), receipt.note
            return self.listed()

        def listed(self):
            catalog = Catalog.refresh(self.store)
            assert [r.id for r in Catalog.open(self.store).records] == [r.id for r in catalog.records]
            return sorted(r.load().spikes.train(0).tolist() for r in catalog)

    made = Taken()
    made.file("a.nwb", [1.0])
    assert made.ingest() == [[1.0]]
    return made


def test_edited_file_counts_once_and_the_old_recording_is_kept(taken):
    first = Catalog.open(taken.store).records[0]
    taken.file("a.nwb", [2.0])
    assert taken.ingest() == [[2.0]]
    catalog = Catalog.open(taken.store)
    assert [r.id for r in catalog.superseded] == [first.id]
    assert CatalogRow.of(taken.store.commit(first.id)) == first
    assert taken.ingest() == [[2.0]]  # once more changes nothing
    taken.file("a.nwb", [3.0])
    assert taken.ingest() == [[3.0]]
    verification = verify_store(taken.store)
    assert verification.ok, str(verification)
    assert verification.left == []


def test_file_edited_back_counts_again(taken, tmp_path):
    shutil.copy(tmp_path / "nwb" / "a.nwb", tmp_path / "before.nwb")
    taken.file("a.nwb", [2.0])
    taken.ingest()
    shutil.copy(tmp_path / "before.nwb", tmp_path / "nwb" / "a.nwb")
    assert taken.ingest() == [[1.0]]
    assert verify_store(taken.store).ok


@pytest.mark.parametrize("place", ["nwb/a.nwb", "link/a.nwb", "nwb/../nwb/*.nwb"])
def test_place_is_the_same_under_any_name(taken, tmp_path, place):
    os.symlink(tmp_path / "nwb", tmp_path / "link")
    taken.file("a.nwb", [2.0])
    assert taken.ingest(place) == [[2.0]]


def test_copies_and_links_are_one_recording(taken, tmp_path):
    shutil.copy(tmp_path / "nwb" / "a.nwb", tmp_path / "nwb" / "copy.nwb")
    os.symlink(tmp_path / "nwb" / "a.nwb", tmp_path / "nwb" / "link.nwb")
    assert taken.ingest() == [[1.0]]
    # Of two copies of which one is edited the edited one counts, in whatever order they are read.
    taken.file("a.nwb", [2.0])
    os.remove(tmp_path / "nwb" / "link.nwb")
    assert taken.ingest("nwb/a.nwb") == [[2.0]]
    assert taken.ingest("nwb/copy.nwb") == [[2.0]]


def test_two_probes_of_one_session_both_count(taken):
    taken.file("probe-b.nwb", [2.0])
    assert taken.ingest() == [[1.0], [2.0]]


def test_another_session_at_the_same_place_replaces_nothing(taken):
    taken.file("a.nwb", [2.0], session_id="s2")
    assert taken.ingest() == [[1.0], [2.0]]


def test_older_recording_counts_if_the_newer_one_is_gone(taken):
    taken.file("a.nwb", [2.0])
    taken.ingest()
    taken.store.remove(f"commits/{Catalog.open(taken.store).records[0].id}.json")
    taken.store.remove("catalog.parquet")
    assert taken.listed() == [[1.0]]
