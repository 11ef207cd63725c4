"""End-to-end `foundation ingest` from an archive to a store: processes, a token, faults."""

import json
import os
import subprocess
import sys

import pytest

from foundation.store import Catalog, Store

TOKEN = "0123456789abcdef-the-owners"


@pytest.fixture
def archive(archive_server, nwb_maker, tmp_path):
    """Five assets of an embargoed dandiset: good ones, and one with a wrong digest."""
    contents = archive_server.contents
    contents.tokens[TOKEN] = "owner"
    contents.add_dandiset("000123", embargoed=True, owners=("owner",))
    for k in range(5):
        trains = [[0.5 + k, 1.0 + k], [2.0]]
        nwb = nwb_maker.add_trains(nwb_maker.new(identifier=f"id{k}", session_id=f"s{k}"), trains)
        path = tmp_path / "made" / f"{k}.nwb"
        nwb_maker.save(nwb, path)
        digest = {"dandi:dandi-etag": "0" * 32 + "-1", "dandi:sha2-256": "0" * 64} if k == 3 else None
        contents.add("000123", f"sub-{k}/sub-{k}_ses-s{k}.nwb", path.read_bytes(), digest=digest)
    return archive_server


@pytest.fixture
def command(archive, tmp_path):
    """Run `foundation ingest` on the archive, with waits of milliseconds."""
    config = tmp_path / "lab.yaml"
    config.write_text(
        json.dumps(
            {
                "input": "dandi://lab/000123",
                "store": str(tmp_path / "store"),
                "archives": [{"name": "lab", "api_url": archive.api_url, "token_variable": "LAB_TOKEN"}],
                "access": {"cache": str(tmp_path / "cache"), "first_wait": 0.001, "max_wait": 0.02, "budget": 30.0},
                "address": "local",
                "workers": 2,
            }
        )
    )

    def run(*words):
        return subprocess.run(
            [sys.executable, "-m", "foundation", "ingest", "--config", str(config), *words],
            capture_output=True, text=True, check=False, timeout=240, cwd=tmp_path,
            env={**os.environ, "LAB_TOKEN": TOKEN, "FOUNDATION_LOG": str(tmp_path / "log.txt")},
        )  # fmt: skip

    return run


def test_dry_run_lists_assets_and_reads_nothing(command, archive, tmp_path):
    done = command("--dry_run", "true", "--filters.subject", "['1', '2']")
    assert done.returncode == 0, done.stderr
    assert "sub-1/sub-1_ses-s1.nwb" in done.stdout
    assert "sub-3" not in done.stdout
    assert "2 assets" in done.stdout
    assert archive.storage.requests == []
    assert not (tmp_path / "store").exists()


def test_archive_is_ingested_despite_faults_and_again_after_its_draft_changed(command, archive, tmp_path):
    archive.fail_storage(status=503, times=3)
    archive.fail_storage(cut=1000, times=2)
    archive.fail_api("/assets/", status=429, times=2)
    archive.contents.remove("000123", "sub-4/sub-4_ses-s4.nwb")
    done = command()
    assert done.returncode == 1, done.stdout + done.stderr
    output = done.stdout + done.stderr
    assert "4 files: 3 ingested" in output
    assert "1 failed" in output
    assert "sub-3/sub-3_ses-s3.nwb" in output
    assert "the archive's digest; the content was discarded" in output
    catalog = Catalog.open(Store(tmp_path / "store"))
    assert len(catalog) == 3
    first = {record.path: record.id for record in catalog.records}
    for stored in catalog:
        assert stored.verify() == []
        source = stored.record.source
        assert (source.archive, source.dandiset, source.version) == ("lab", "000123", "draft")
        assert source.digest.startswith("dandi-etag:")

    # The draft moves: an asset is replaced, the wrong digest is mended, the rest stays.
    contents = archive.contents
    contents.replace("000123", "sub-0/sub-0_ses-s0.nwb", (tmp_path / "made" / "4.nwb").read_bytes())
    contents.replace("000123", "sub-3/sub-3_ses-s3.nwb", (tmp_path / "made" / "3.nwb").read_bytes())
    done = command()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 files: 2 ingested, 2 skipped" in done.stdout
    catalog = Catalog.open(Store(tmp_path / "store"))
    second = {record.path: record.id for record in catalog.records}
    assert len(second) == len(catalog) == 4
    assert second["sub-0/sub-0_ses-s0.nwb"] != first["sub-0/sub-0_ses-s0.nwb"]
    assert second["sub-1/sub-1_ses-s1.nwb"] == first["sub-1/sub-1_ses-s1.nwb"]

    # The token was sent to the API, and is nowhere else.
    assert any(request.headers.get("authorization") == f"token {TOKEN}" for request in archive.api.requests)
    assert not any("authorization" in request.headers for request in archive.storage.requests)
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) > 10
    assert not [path for path in written if TOKEN.encode() in path.read_bytes()]
    assert TOKEN not in output
