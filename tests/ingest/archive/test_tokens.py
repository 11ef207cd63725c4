"""Embargoed dandisets: the token goes only to its archive's API."""

import logging
import pickle

import keyring
import pytest
import requests
from keyring.backend import KeyringBackend

from foundation.common.errors import SourceError
from foundation.version import __version__
from ingest.sources import AssetFilters, find_assets, open_asset
from ingest.sources.dandi.archive_tokens import ArchiveToken

TOKEN = "0123456789abcdef-the-owners"
DATA = b"embargoed bytes" * 100


@pytest.fixture
def embargoed(archive_server):
    contents = archive_server.contents
    contents.tokens.update({TOKEN: "owner", "another-valid-token": "stranger"})
    contents.add_dandiset("000001", embargoed=True, owners=("owner",))
    contents.add("000001", "sub-a/a.nwb", DATA)
    contents.add("000001", "sub-a/b.nwb.zarr", files={".zgroup": b"{}", "x/.zarray": b"[]"})
    contents.add_dandiset("000002")
    contents.add("000002", "open.nwb", b"open")
    return archive_server


@pytest.fixture
def find(embargoed, lab, quick):
    return lambda source, **filters: find_assets(source, AssetFilters(**filters), [lab], quick())


def sent(server):
    return [request.headers["authorization"] for request in server.requests if "authorization" in request.headers]


def test_without_a_token(find):
    with pytest.raises(SourceError, match=r"archive lab requires a token \(401; embargoed data\).* variable LAB_TOKEN"):
        find("dandi://lab/000001")


def test_with_a_wrong_token(find, monkeypatch):
    monkeypatch.setenv("LAB_TOKEN", "stale-token")
    with pytest.raises(SourceError, match=r"rejects the token in the variable LAB_TOKEN \(401\)") as caught:
        find("dandi://lab/000001")
    assert "stale-token" not in str(caught.value)


def test_with_the_token_of_another_user(find, monkeypatch):
    monkeypatch.setenv("LAB_TOKEN", "another-valid-token")
    with pytest.raises(SourceError, match="the token in the variable LAB_TOKEN is valid, but its owner is not among"):
        find("dandi://lab/000001")


@pytest.mark.parametrize("mode", ["download", "stream"])
def test_with_the_owners_token(find, embargoed, quick, monkeypatch, caplog, mode):
    monkeypatch.setenv("LAB_TOKEN", f" {TOKEN}\n")
    caplog.set_level(logging.DEBUG)
    blob, zarr = find("dandi://lab/000001")
    assert zarr.content_url == ""  # the storage serves embargoed content at presigned URLs only
    with open_asset(blob, quick(mode=mode)) as file:
        assert file.read() == DATA
    with open_asset(zarr, quick(mode=mode)) as store:
        assert store.read_only
    assert set(sent(embargoed.api)) == {f"token {TOKEN}"}
    assert embargoed.storage.requests
    assert sent(embargoed.storage) == []
    assert not any(TOKEN in f"{request.raw_query} {request.headers}" for request in embargoed.storage.requests)
    assert TOKEN not in caplog.text
    assert TOKEN.encode() not in pickle.dumps([blob, zarr])


def test_every_request_has_a_user_agent(find, embargoed, quick):
    for mode in ("stream", "download"):
        with open_asset(find("dandi://lab/000002")[0], quick(mode=mode)) as file:
            file.read(1)
    agents = {request.headers["user-agent"] for request in [*embargoed.api.requests, *embargoed.storage.requests]}
    assert agents == {f"neural-foundation/{__version__}"}


def test_stale_token_is_not_sent_for_open_dandisets(find, embargoed, quick, monkeypatch):
    monkeypatch.setenv("LAB_TOKEN", "stale-token")
    (asset,) = find("dandi://lab/000002")
    with open_asset(asset, quick()) as file:
        assert file.read() == b"open"
    assert sent(embargoed.api) == []


def test_token_of_another_archive_is_not_used(find, monkeypatch):
    monkeypatch.setenv("DANDI_API_KEY", TOKEN)
    monkeypatch.setenv("LAB_API_KEY", TOKEN)
    with pytest.raises(SourceError, match="requires a token"):
        find("dandi://lab/000001")


def test_redirect_to_another_host_gets_no_token(find, embargoed, monkeypatch):
    monkeypatch.setenv("LAB_TOKEN", TOKEN)
    embargoed.fail_api(
        "/assets/?path", status=302, headers={"Location": f"{embargoed.storage.url}/elsewhere/"}, times=9
    )
    embargoed.fail_api(
        "/assets/?order", status=302, headers={"Location": f"{embargoed.storage.url}/elsewhere/"}, times=9
    )
    with pytest.raises(SourceError):
        find("dandi://lab/000001")
    assert [request.path for request in embargoed.storage.requests] == ["/elsewhere/"]
    assert sent(embargoed.storage) == []


class Ring(KeyringBackend):
    priority = 1

    def get_password(self, service, username):
        return TOKEN if (service, username) == ("dandi-api-lab", "key") else None

    def set_password(self, service, username, password):
        raise AssertionError("nothing is stored")

    def delete_password(self, service, username):
        raise AssertionError("nothing is deleted")


class EncryptedRing(Ring):
    asked = 0

    def get_password(self, service, username):
        type(self).asked += 1  # it would ask for a password on the terminal


def test_keyring_is_used_if_the_variable_is_not_set(find, embargoed, monkeypatch):
    keyring.set_keyring(Ring())
    assert len(find("dandi://lab/000001")) == 2
    monkeypatch.setenv("LAB_TOKEN", "stale-token")
    with pytest.raises(SourceError, match="in the variable LAB_TOKEN"):
        find("dandi://lab/000001")


def test_keyring_with_a_prompt_is_not_used(find):
    keyring.set_keyring(EncryptedRing())
    with pytest.raises(SourceError, match="requires a token"):
        find("dandi://lab/000001")
    assert EncryptedRing.asked == 0


def test_token_with_invalid_characters_is_not_shown(find, monkeypatch):
    monkeypatch.setenv("LAB_TOKEN", "first\nsecond-secret")
    with pytest.raises(SourceError, match="holds invalid characters") as caught:
        find("dandi://lab/000001")
    assert "secret" not in str(caught.value)


def test_presigned_addresses_are_in_no_message_and_no_log(find, embargoed, quick, monkeypatch, caplog):
    monkeypatch.setenv("LAB_TOKEN", TOKEN)
    caplog.set_level(logging.DEBUG, logger="ingest")
    blob = find("dandi://lab/000001/sub-a/a.nwb")[0]
    embargoed.fail_storage(times=9, cut=0)
    with pytest.raises(SourceError, match="gave up") as caught, open_asset(blob, quick(mode="download")):
        pass
    assert "Signature" not in str(caught.value) + caplog.text
    embargoed.storage.stop()
    with pytest.raises(SourceError, match="gave up") as caught, open_asset(blob, quick(mode="download")):
        pass
    assert "Signature" not in str(caught.value) + caplog.text


@pytest.mark.parametrize("stated", ["http://127.0.0.1:1/api/x", "https://127.0.0.1/api", "http://api.example.org/api"])
def test_token_is_sent_to_its_archive_only(embargoed, lab, monkeypatch, stated):
    monkeypatch.setenv("LAB_TOKEN", TOKEN)
    token = ArchiveToken(lab)
    assert token.ready()
    assert "Authorization" not in token(requests.Request("GET", stated).prepare()).headers
    assert token(requests.Request("GET", f"{lab.api_url}/x").prepare()).headers["Authorization"] == f"token {TOKEN}"
    assert TOKEN.encode() not in pickle.dumps(token)
