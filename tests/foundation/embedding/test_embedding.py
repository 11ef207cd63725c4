"""`foundation embed`: complete output in a store, and suggestions if no window fits."""

import json
from dataclasses import replace

import numpy as np
import pytest

from foundation.catalog.catalog_listing import CatalogSettings, list_catalog
from foundation.cli.commands import main
from foundation.common.errors import ConfigError, FoundationError
from foundation.embedding.embed_job import KIND, EmbedSettings, Misfit, embed
from foundation.models import EIT, EITConfig
from foundation.store import Catalog, Store, write_recording
from foundation.store.derived import Derived
from foundation.sweep.sweep_settings import SweepSettings
from foundation.training import PretrainSettings


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    EIT(EITConfig(dim=8, heads=2, individual_layers=1, patch_length=2)).save_pretrained(folder)
    return str(folder)


@pytest.fixture(params=["folder", "memory", "s3"])
def place(request, tmp_path):
    if request.param == "folder":
        return str(tmp_path / "store")
    return f"memory://{tmp_path.name}/store" if request.param == "memory" else f"{request.getfixturevalue('bucket')}/a"


def filled(place: str, make_recording) -> Store:
    store = Store(place, create=True)
    for seed in (1, 2):
        write_recording(store, make_recording(seed), "recipe")
    Catalog.refresh(store)
    return store


def test_embeddings_in_any_store_are_complete(place, checkpoint, make_recording, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    store = filled(place, make_recording)
    settings = EmbedSettings(checkpoint, place, tokens=4, max_windows=2)
    done = embed(settings)
    assert str(done) == f"2 embeddings in {place}"
    verified = list_catalog(CatalogSettings(place, verify=True))
    assert verified.ok, verified.text
    assert "left behind" not in verified.text
    found = {d.attributes["recording"]: d.read("z_ND") for d in Derived.find(store, KIND)}
    embed(EmbedSettings(checkpoint, place, output=str(tmp_path / "files"), tokens=4, max_windows=2))
    for recording in Catalog.open(store):
        with np.load(tmp_path / "files" / f"{recording.id}.npz") as file:
            assert np.array_equal(found[recording.id], file["z_ND"])
            assert json.loads(str(file["about"]))["recording"] == recording.id
    assert embed(settings) == done, "existing embeddings are not computed again"
    local = {tmp_path / "store"} if place.startswith("/") else set()
    assert set(tmp_path.iterdir()) - set(before) == {tmp_path / "files", *local}, "no folder of a URL's name"


def test_files_come_from_the_cache_of_features(checkpoint, make_recording, tmp_path, monkeypatch):
    filled(str(tmp_path / "store"), make_recording)
    settings = EmbedSettings(checkpoint, str(tmp_path / "store"), output=str(tmp_path / "a"), tokens=4, max_windows=2)
    embed(settings)

    def refuse(*_, **__):
        raise AssertionError("the model was run again")

    monkeypatch.setattr("foundation.embedding.frozen_embeddings.embedded_parts", refuse)
    embed(replace(settings, output=str(tmp_path / "b")))
    for path in (tmp_path / "a").glob("*.npz"):
        with np.load(path) as one, np.load(tmp_path / "b" / path.name) as other:
            np.testing.assert_array_equal(one["z_ND"], other["z_ND"])
    with pytest.raises(AssertionError, match="the model was run again"):
        embed(replace(settings, cache_size=0))


def test_command_fails_with_suggestions_if_nothing_fits(checkpoint, make_recording, tmp_path, capsys):
    store = filled(str(tmp_path / "store"), make_recording)
    longest = max(float(np.max(r.domain.end - r.domain.start)) for r in Catalog.open(store))
    arguments = ["embed", "--checkpoint", checkpoint, "--store", str(tmp_path / "store"), "--bin_width", "1.0"]
    assert main([*arguments, "--tokens", "1000"]) == 1
    expected = capsys.readouterr().err
    assert "no recording of" in expected
    tokens = Misfit("", longest, 1.0, 1000, 2).fitting_tokens
    assert f"--tokens {tokens} fits all 2 recordings" in expected
    assert f"--tokens {tokens} or --bin_width" in expected
    assert main([*arguments, "--tokens", str(tokens)]) == 0


@pytest.mark.parametrize(("longest", "width", "tokens"), [(0.5, 0.005, 32), (59.97, 0.2, 1000), (3.0, 1.0, 7)])
def test_suggested_settings_fit(longest, width, tokens):
    misfit = Misfit("a", longest, width, tokens, 4)
    assert 0 <= misfit.fitting_tokens * 4 * width <= longest + 1e-6 < (misfit.fitting_tokens + 1) * 4 * width
    assert 0.9 * longest < misfit.fitting_width * tokens * 4 <= longest


def test_empty_store_fails(checkpoint, tmp_path):
    Store(tmp_path / "store", create=True)
    with pytest.raises(FoundationError, match="holds no recording"):
        embed(EmbedSettings(checkpoint, str(tmp_path / "store")))


@pytest.mark.parametrize(
    "make",
    [
        lambda url: EmbedSettings("m", "s", output=url),
        lambda url: PretrainSettings("s", url),
        lambda url: SweepSettings("s", url, "h"),
        lambda url: CatalogSettings("s", page=url),
    ],
)
def test_output_cannot_be_a_url(make):
    with pytest.raises(ConfigError, match=r"is 's3://bucket/a': expected a local path, not a URL"):
        make("s3://bucket/a")
