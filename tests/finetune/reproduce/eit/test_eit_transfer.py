"""EIT across animals: the individual module of one, frozen, and a head trained on another."""

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from finetune.reproduce import reproduce
from finetune.reproduce.common.run_results import find_recording, read_all
from finetune.reproduce.common.weights_folder import weights_folder
from finetune.reproduce.eit.decoding import FrozenHead, Rule, fit, predict, seen_through
from finetune.reproduce.eit.reaching_trials import cut, read_trials, split
from finetune.reproduce.models import EITPublished, EITPublishedConfig
from foundation.common.errors import FoundationError
from foundation.store import Catalog, Store

N_TRIALS, N_UNITS = 40, 9
QUICK = Rule(max_epochs=4, patience=2, smooth=2, learning_rate=3e-3)


def test_frozen_module_of_another_animal_gets_a_head(table, tmp_path):
    settings = table(tmp_path, models=["linear"], seeds=[0], transfer_from="Mihi")
    folder = reproduce(settings)
    [result] = read_all(folder)["transfer-Mihi"]
    assert set(result.digests) == {"Chewie", "Mihi"}
    assert result.detail["source_epochs"] >= 1
    page = (tmp_path / "page.md").read_text()
    assert "individual module frozen, trained on Mihi" in page
    assert "Not run yet" not in page
    assert "transfer-Mihi" not in page


def test_transfer_uses_the_weights_of_the_run_that_trained_its_source(table, tmp_path, monkeypatch):
    from finetune.reproduce.eit import eit_runs

    short = {"seeds": [0], "rule": Rule(max_epochs=2, patience=1)}
    apart = table(tmp_path / "apart", models=["linear"], transfer_from="Mihi", **short)
    [wanted] = read_all(reproduce(apart))["transfer-Mihi"]
    [source] = read_all(reproduce(table(tmp_path / "mihi", subject="Mihi", models=["eit"], **short)))["eit"]
    [kept] = (tmp_path / "mihi/weights").iterdir()
    assert kept.name == f"eit-{source.key}"
    assert {p.name for p in kept.iterdir()} == {"config.json", "model.safetensors", "run.json"}

    trained = []
    fit = eit_runs.fit
    monkeypatch.setattr(
        eit_runs, "fit", lambda build, *rest, **more: (trained.append(build()), fit(build, *rest, **more))[1]
    )
    weights = str(tmp_path / "mihi/weights")
    again = table(tmp_path / "again", models=["linear"], transfer_from="Mihi", weights=weights, **short)
    [found] = read_all(reproduce(again))["transfer-Mihi"]
    assert [type(model) for model in trained] == [FrozenHead]  # the head alone
    assert (found.right_R, found.key) == (wanted.right_R, wanted.key)
    assert found.detail["source_epochs"] == wanted.detail["source_epochs"] == source.detail["epochs"]
    # another rule, other weights
    other = short | {"rule": Rule(epochs=1), "transfer_from": "Mihi", "weights": weights, "models": ["linear"]}
    reproduce(table(tmp_path / "other", **other))
    assert len(list((tmp_path / "mihi/weights").iterdir())) == 2
    (kept / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(FoundationError, match=r"not a kept EIT.*remove it to train it again"):
        reproduce(table(tmp_path / "torn", **(other | short)))
    assert not list((tmp_path / "torn").glob("runs/**/transfer-*"))


def test_source_with_missing_weights_is_retrained_for_the_epochs_of_its_result(table, tmp_path, monkeypatch):
    from finetune.reproduce.eit import eit_runs

    short = {"seeds": [0], "rule": Rule(max_epochs=3, patience=1, smooth=1, learning_rate=3e-3)}
    mihi = replace(table(tmp_path, subject="Mihi", models=["eit"], **short), name="mihi")
    [source] = read_all(reproduce(mihi))["eit"]
    [kept] = (tmp_path / "weights").iterdir()
    wanted = load_file(kept / "model.safetensors")
    shutil.rmtree(kept)
    rules = []
    fit = eit_runs.fit
    monkeypatch.setattr(eit_runs, "fit", lambda *given, **more: (rules.append(given[3].epochs), fit(*given, **more))[1])
    [found] = read_all(reproduce(table(tmp_path, models=["linear"], transfer_from="Mihi", **short)))["transfer-Mihi"]
    assert rules == [source.detail["epochs"], None]  # only the head's number of epochs is searched again
    assert found.detail["source_epochs"] == source.detail["epochs"]
    again = load_file(kept / "model.safetensors")
    assert all(torch.equal(again[name], wanted[name]) for name in wanted)


def test_head_on_cached_features_equals_head_on_frozen_module(reaching):
    train, _ = split(read_trials(find_recording(Catalog.open(Store(reaching[0])), "Chewie")))
    torch.manual_seed(0)
    there = EITPublished(EITPublishedConfig(n_units=5, n_bins=2)).eval()
    rule = Rule(max_epochs=3, patience=3, smooth=1, learning_rate=3e-3)
    whole, one = fit(lambda: there.transfer(8), train, 2, rule, 1)
    see = partial(seen_through, there.transfer(8))
    head, two = fit(lambda: FrozenHead(there.transfer(8)), train, 2, rule, 1, see=see)
    assert one == two
    torch.testing.assert_close(head.head[1].weight, whole.individual_head[1].weight, rtol=1e-4, atol=1e-5)
    windows = cut(train, 2)
    np.testing.assert_array_equal(predict(head, see(windows)), predict(whole, windows))


def test_weights_are_kept_in_the_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert weights_folder(None) == tmp_path / "foundation/weights"
    assert weights_folder("here") == Path("here")
