"""Failing, wrong and refusing servers, with the real dandi client."""

import pytest

from foundation.common.errors import SourceError
from ingest.sources import Archive, find_assets

VERSION = "0.240101.1200"


@pytest.fixture
def filled(archive_server):
    """Dandiset 000001: seven assets, published."""
    archive_server.contents.add_dandiset("000001")
    for n in range(1, 8):
        archive_server.contents.add("000001", f"sub-{n}/a.nwb", bytes([n]) * 10 * n)
    archive_server.contents.publish("000001", VERSION)
    archive_server.page_size = 3
    return archive_server


@pytest.fixture
def find(filled, lab, quick):
    return lambda source: find_assets(source, archives=[lab], access=quick())


@pytest.mark.parametrize("path", ["../x.nwb", "/etc/x.nwb", "a/../../x.nwb", "a\\..\\x.nwb", "a//x.nwb", "a/\x00.nwb"])
def test_paths_that_leave_their_folder_are_refused(find, filled, path):
    filled.contents.add_dandiset("000003")
    filled.contents.add("000003", path, b"1")
    with pytest.raises(SourceError, match="leads out of its folder"):
        find("dandi://lab/000003")


def test_rejected_client_versions_raise(find, filled):
    filled.least_client = "99.0.0"
    with pytest.raises(SourceError, match=r"archive lab: Client version .* is too old"):
        find("dandi://lab/000001")
    filled.least_client, filled.bad_clients = "0.1.0", [__import__("dandi").__version__]
    with pytest.raises(SourceError, match="is rejected by server"):
        find("dandi://lab/000001")


def test_configured_api_url_overrides_the_server_s(find, filled, caplog):
    filled.stated_api = "http://127.0.0.1:9/api"
    assert len(find(f"dandi://lab/000001@{VERSION}")) == 7
    assert "says its API is at http://127.0.0.1:9/api" in caplog.text


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_bursts_of_failures_are_retried(find, filled, status):
    filled.fail_api("/api/", times=3, status=status, headers={"Retry-After": "0"})
    assert len(find(f"dandi://lab/000001@{VERSION}")) == 7


def test_permanent_failures_raise_within_the_budget(filled, lab, quick):
    filled.fail_api("/assets/", times=999, status=503, headers={"Retry-After": "86400"})
    with pytest.raises(SourceError, match=r"gave up after 3 attempts in 0 s; last error: HTTP 503"):
        find_assets("dandi://lab/000001", archives=[lab], access=quick(attempts=3))


def test_servers_that_are_not_archives_raise(lab, filled, quick):
    filled.fail_api("/info/", times=999, status=200)
    with pytest.raises(SourceError, match="does not answer like an archive"):
        find_assets("dandi://lab/000001", archives=[lab], access=quick())
    gone = Archive("gone", "http://127.0.0.1:9/api")
    with pytest.raises(SourceError, match=r"archive gone: .*gave up after 2 attempts"):
        find_assets("dandi://gone/000001", archives=[gone], access=quick(attempts=2))
