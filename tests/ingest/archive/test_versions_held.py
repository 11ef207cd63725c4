"""Assets of a dandiset's version: replaced and removed assets, pruning, versions and embargo in the catalog."""

import pytest

from foundation.catalog.catalog_listing import CatalogSettings, list_catalog
from foundation.common.errors import ConfigError
from foundation.store import Catalog, Store
from foundation.store.commit.verify import verify_store
from ingest.job import IngestSettings, ingest
from ingest.recipe.recipes import load_recipe
from ingest.run.relist import hold_to, list_again, outdated
from ingest.run.worker import Work
from ingest.sources import find_assets

PUBLISHED = "0.240101.1200"
TOKEN = "0123456789abcdef-the-owners"


@pytest.fixture(scope="module")
def files(nwb_maker, tmp_path_factory):
    """The bytes of four small NWB files."""
    found = []
    for k in range(4):
        nwb = nwb_maker.add_trains(nwb_maker.new(identifier=f"id{k}", session_id=f"s{k}"), [[0.5 + k, 1.0 + k], [2.0]])
        path = tmp_path_factory.mktemp("made") / f"{k}.nwb"
        nwb_maker.save(nwb, path)
        found.append(path.read_bytes())
    return found


@pytest.fixture
def archive(archive_server, files):
    """Dandiset 000123 with three assets, all in the draft and in a published version."""
    archive_server.contents.add_dandiset("000123")
    for k in range(3):
        archive_server.contents.add("000123", f"sub-{k}/sub-{k}.nwb", files[k])
    archive_server.contents.publish("000123", PUBLISHED)
    return archive_server


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store", create=True)


@pytest.fixture
def take(archive, lab, quick, store):
    """Ingest a version without Ray; ``meanwhile`` is called after everything has been read."""

    def run(version="draft", meanwhile=lambda: None):
        source = f"dandi://lab/000123@{version}"
        assets = find_assets(source, archives=[lab], access=quick())
        receipts = [Work(store.root, load_recipe("default"), access=quick())(asset) for asset in assets]
        meanwhile()
        listed = list_again(source, assets, [lab], quick())
        receipts = hold_to(listed, store, assets, receipts)
        return {r.path[4]: r for r in receipts}, outdated(listed, Catalog.refresh(store))

    return run


@pytest.fixture
def prune(archive, store):
    """Run ``foundation catalog STORE --prune``."""
    own = {"name": "lab", "api_url": archive.api_url, "token_variable": "LAB_TOKEN"}
    return lambda source: list_catalog(CatalogSettings(store.root, prune=source, archives=[own])).text


def current(store):
    return sorted(record.path[4] for record in Catalog.open(store).records)


def test_assets_replaced_or_removed_during_ingest_fail(archive, take, store, files):
    def meanwhile():
        archive.contents.replace("000123", "sub-0/sub-0.nwb", files[3])
        archive.contents.remove("000123", "sub-1/sub-1.nwb")

    receipts, _ = take(meanwhile=meanwhile)
    assert [receipts[name].status for name in "012"] == ["failed", "failed", "ingested"]
    assert receipts["0"].note.startswith("lab/000123@draft holds it no longer: it was replaced since it was listed")
    assert "it was removed since it was listed" in receipts["1"].note
    assert current(store) == ["2"]
    assert verify_store(store).ok
    # The next run reads the current asset.
    receipts, _ = take()
    assert {name: receipt.status for name, receipt in receipts.items()} == {"0": "ingested", "2": "skipped"}
    assert current(store) == ["0", "2"]
    # The published version still holds what the draft does not: there it counts again.
    receipts, _ = take(PUBLISHED)
    assert [receipt.status for receipt in receipts.values()] == ["skipped"] * 3
    assert current(store) == ["0", "1", "2"]


def test_job_reports_assets_that_left_the_version(archive, lab, quick, tmp_path, ray_session):
    archive.fail_storage(call=lambda: archive.contents.remove("000123", "sub-1/sub-1.nwb"))
    settings = IngestSettings("dandi://lab/000123@draft", str(tmp_path / "store"), archives=[lab], access=quick())
    report = ingest(settings)
    assert not report.ok
    assert [receipt.path for receipt in report.failed] == ["sub-1/sub-1.nwb"]
    assert "lab/000123@draft holds it no longer" in str(report)
    assert current(Store(tmp_path / "store")) == ["0", "2"]
    archive.contents.remove("000123", "sub-2/sub-2.nwb")
    report = ingest(settings)
    assert report.ok
    assert report.outdated == ["sub-2/sub-2.nwb"]
    assert "`foundation catalog --prune` retires them" in str(report)


def test_prune_retires_recordings_that_left_the_version(archive, take, store, prune):
    take()
    archive.contents.remove("000123", "sub-1/sub-1.nwb")
    _, old = take()
    assert old == ["sub-1/sub-1.nwb"]
    before = store.commit_ids()
    prune("dandi://lab/000123@draft/sub-2")
    assert current(store) == ["0", "1", "2"]
    text = prune("dandi://lab/000123@draft")
    assert "retired: sub-1/sub-1.nwb" in text
    assert "lab/000123@draft: 1 recording retired, 2 of it count" in text
    assert current(store) == ["0", "2"]
    assert store.commit_ids() == before
    assert verify_store(store).ok
    Catalog.refresh(store, full=True)
    assert current(store) == ["0", "2"]
    prune(f"dandi://lab/000123@{PUBLISHED}")  # never brings anything back
    assert current(store) == ["0", "2"]
    with pytest.raises(ConfigError, match="prune is '/data': expected the address of a dandiset's version"):
        prune("/data")


def test_catalog_knows_the_recordings_of_a_version(archive, take, store, files):
    take(PUBLISHED)
    archive.contents.replace("000123", "sub-0/sub-0.nwb", files[3])
    archive.contents.remove("000123", "sub-1/sub-1.nwb")
    take("draft")

    def of(expression):
        return sorted(record.path[4] for record in Catalog.open(store).where(expression).records)

    assert of("'draft' in versions") == ["0", "2"]
    assert of(f"'{PUBLISHED}' in versions and dandiset == '000123'") == ["1", "2"]
    assert of(f"version == '{PUBLISHED}'") == ["1", "2"]  # first read from it
    assert of("embargo == 'embargoed'") == []


def test_embargo_is_in_the_provenance(archive, take, store, files, monkeypatch):
    take()
    assert not any(record.source.embargo for record in Catalog.open(store).records)
    assert all("embargo" not in store.commit(identity)["source"] for identity in Catalog.open(store).ids)
    archive.contents.tokens[TOKEN] = "owner"
    hidden = archive.contents.dandisets["000123"]
    hidden.embargoed, hidden.owners = True, ("owner",)
    archive.contents.replace("000123", "sub-0/sub-0.nwb", files[3])
    monkeypatch.setenv("LAB_TOKEN", TOKEN)
    take()
    (found,) = Catalog.open(store).where("embargo == 'embargoed'")
    assert found.record.path == "sub-0/sub-0.nwb"
    assert found.load().source.embargo == found.record.source.embargo == "embargoed"
    assert verify_store(store).ok
