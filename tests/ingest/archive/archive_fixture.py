"""The archive as a fixture: a server of our own on loopback, and settings with tiny waits."""

import keyring
import pytest
from archive_server import ArchiveServer
from keyring.backends.null import Keyring as NoKeyring

from ingest.sources import AccessSettings, Archive


@pytest.fixture
def archive_server(monkeypatch):
    """A running archive; the name of its variable is ``LAB_TOKEN``, and no keyring is asked."""
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
    """Builds settings with waits of milliseconds and a cache of the test's own."""

    def make(**changes):
        waits = {"first_wait": 0.001, "max_wait": 0.02, "timeout": 5.0, "attempts": 5, "budget": 20.0}
        return AccessSettings(**({"cache": str(tmp_path / "cache")} | waits | changes))

    return make
