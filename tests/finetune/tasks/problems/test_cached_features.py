"""Features of a checkpoint are read from the cache bit for bit; features of other models are computed."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from finetune.finetune_settings import WindowSettings
from finetune.tasks.labels import behavior, unit_labels
from finetune.tasks.problems import window_task
from finetune.tasks.task import Sources
from foundation.data.reading.reader import ReaderCache
from foundation.embedding import frozen_embeddings
from foundation.embedding.feature_cache import FeatureCache
from foundation.models import EIT, EITConfig
from foundation.store import Catalog, Interval, IrregularTimeSeries, Store, Units, write_recording
from foundation.store.result_cache import ResultCache

UNITS, SECONDS = 8, 60.0


@pytest.fixture
def sources(tmp_path, make_recording):
    store = Store(tmp_path / "store", create=True)
    times = np.arange(0, SECONDS, 0.05)
    for seed in range(2):
        write_recording(store, make_recording(
            seed, n_units=UNITS, seconds=SECONDS, domain=Interval.single(0.0, SECONDS),
            units=Units(UNITS, {"cell_type": np.where(np.arange(UNITS) % 2, "a", "b")}),
            behavior={"velocity": IrregularTimeSeries(times, np.sin(times)[:, None], "cm/s")},
        ))  # fmt: skip
    catalog = Catalog.build(store)
    windows = WindowSettings(unit_tokens=8, unit_windows=4, behavior_tokens=5)
    return Sources(catalog, ReaderCache(catalog), windows, 4, 4, folds=3, seed=0)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return EIT(EITConfig(dim=16, heads=2, individual_layers=1, interaction_layers=1, patch_length=4)).eval()


@pytest.fixture
def counted(monkeypatch):
    """Count the model's runs on windows."""
    calls = []
    for module, name in ((window_task, "token_parts"), (frozen_embeddings, "embedded_parts")):
        run = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *args, run=run, **given: calls.append(1) or run(*args, **given))
    return calls


@pytest.mark.parametrize("find", [behavior.find, unit_labels.find_cell_types])
def test_features_of_the_checkpoint_are_computed_once(find, sources, model, counted):
    problem = find(sources).problems[0]
    plain = problem.features(model)[-1].x_TF
    runs = len(counted)
    problem.cache = FeatureCache(model, "digest", ResultCache(sources.catalog.store, 1 << 24))
    first = problem.features(model)[-1].x_TF
    assert len(counted) == 2 * runs
    again = problem.features(model)[-1].x_TF
    assert len(counted) == 2 * runs
    assert first.dtype == again.dtype == plain.dtype
    np.testing.assert_array_equal(first, plain)
    np.testing.assert_array_equal(again, plain)


@pytest.mark.parametrize("find", [behavior.find, unit_labels.find_cell_types])
def test_other_models_windows_and_checkpoints_have_separate_features(find, sources, model, counted):
    cache = FeatureCache(model, "digest", ResultCache(sources.catalog.store, 1 << 24))
    problem = find(sources).problems[0]
    problem.cache = cache
    first = problem.features(model)[-1].x_TF
    finetuned = copy.deepcopy(model)
    with torch.no_grad():
        finetuned.norm.weight.mul_(2.0)
    assert not np.array_equal(problem.features(finetuned)[-1].x_TF, first)
    np.testing.assert_array_equal(problem.features(model)[-1].x_TF, first)
    other_windows = find(replace(sources, windows=WindowSettings(unit_tokens=6, behavior_tokens=4))).problems[0]
    runs = len(counted)
    for other, given in ((other_windows, cache), (problem, replace(cache, checkpoint="another"))):
        other.cache = given
        other.features(model)
        assert len(counted) > runs
        runs = len(counted)
