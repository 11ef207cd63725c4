"""The archive as a fixture: a local test server, and settings with tiny waits."""

import keyring
import numpy as np
import pytest
from archive_server import ArchiveServer
from keyring.backends.null import Keyring as NoKeyring

from ingest.sources import AccessSettings, Archive, find_assets, open_asset

DATA = np.random.default_rng(3).bytes(300_001)
PATH = "sub-a/sub-a.nwb"


@pytest.fixture
def archive_server(monkeypatch):
    """A running archive; the name of its variable is ``LAB_TOKEN``, and no keyring is used."""
    monkeypatch.delenv("LAB_TOKEN", raising=False)
    before = keyring.get_keyring()
    keyring.set_keyring(NoKeyring())
    server = ArchiveServer()
    yield server
    server.stop()
    keyring.set_keyring(before)


@pytest.fixture
def lab(archive_server):
    """The archive as settings know it: ``dandi://lab/...``."""
    return Archive("lab", archive_server.api_url, token_variable="LAB_TOKEN")


@pytest.fixture
def quick(tmp_path):
    """Builds settings with waits of milliseconds and a cache in the test's folder."""

    def make(**changes):
        waits = {"first_wait": 0.001, "max_wait": 0.02, "timeout": 5.0, "attempts": 5, "budget": 20.0}
        return AccessSettings(**({"cache": str(tmp_path / "cache")} | waits | changes))

    return make


@pytest.fixture
def stocked(archive_server):
    """The archive with a dandiset of one file, `DATA`."""
    archive_server.contents.add_dandiset("000001")
    archive_server.contents.add("000001", PATH, DATA)
    return archive_server


@pytest.fixture
def asset(stocked, lab, quick):
    """That file as an asset, with the request log cleared."""
    (found,) = find_assets("dandi://lab/000001", archives=[lab], access=quick())
    stocked.storage.requests.clear()
    stocked.api.requests.clear()
    return found


def content(asset, access):
    """The bytes of an asset."""
    with open_asset(asset, access) as file:
        return file.read()


def ranges(server):
    """The requested byte ranges."""
    return [request.headers.get("range") for request in server.storage.requests]
