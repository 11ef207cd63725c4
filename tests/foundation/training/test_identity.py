"""A short run of the shipped identity config, and the recordings that it uses."""

import logging
from dataclasses import replace

import numpy as np
import pytest

from foundation.common.errors import CheckpointError, ConfigError
from foundation.common.settings.command import build_parser, parse
from foundation.embedding.frozen_embeddings import embed_units
from foundation.hub.checkpoints import load_model
from foundation.store import Catalog, RegularTimeSeries, Store, write_recording
from foundation.training import PretrainSettings, pretrain
from foundation.training.inputs.training_recordings import choose_recordings

QUICK = ["--steps", "2", "--checkpoint_every", "2", "--data.tokens_per_step", "432", "--data.min_windows", "2",
         "--data.max_units", "12", "--objective.neurpir.max_tokens", "4"]  # fmt: skip


@pytest.fixture(scope="module")
def mixed_store(tmp_path_factory, make_recording):
    """Two recordings of spikes and one of sampled values."""
    store = Store(tmp_path_factory.mktemp("mixed") / "store", create=True)
    for seed in range(2):
        write_recording(store, make_recording(seed))
    series = RegularTimeSeries(np.random.default_rng(0).normal(size=(600, 12)).astype(np.float32), rate=10.0)
    write_recording(store, make_recording(2, spikes=None, activity=series, activity_kind="values"))
    catalog = Catalog.build(store)
    catalog.save()
    return catalog


def settings_of(store: str, output: str, *more: str) -> PretrainSettings:
    given = ["--config", "pretrain/identity", "--store", store, "--output", output, *QUICK, *more]
    return parse(build_parser("pretrain", pretrain, PretrainSettings), PretrainSettings, given)


def test_shipped_run_trains_on_spikes_and_its_model_embeds_them(mixed_store, tmp_path, caplog):
    settings = settings_of(mixed_store.store.name, str(tmp_path / "run"))
    with caplog.at_level(logging.WARNING):
        model = load_model(pretrain(settings))
    assert "left out because they have no spike times: sub-2.nwb" in caplog.text
    assert model.config.tokens == "intervals"
    spikes, _, values = sorted(mixed_store, key=lambda recording: recording.record.path)
    z_ND = embed_units(model, spikes, bin_width=0.001, n_bins=2 * model.config.patch_length)
    assert z_ND.shape == (12, 128)
    assert np.ptp(z_ND, axis=0).max() > 0.01
    with pytest.raises(CheckpointError, match="has no spike times, and the model reads intervals between spikes"):
        embed_units(model, values, bin_width=0.01, n_bins=model.config.patch_length)


def test_store_without_spike_times_is_refused(mixed_store):
    settings = settings_of("s", "o")
    values = mixed_store.where("kind == 'values'")
    with pytest.raises(ConfigError, match=r"model\.tokens is 'intervals' and none of 1 recordings has spike times"):
        choose_recordings(settings, values)
    bins = replace(settings, model=replace(settings.model, tokens="bins"))
    assert len(choose_recordings(bins, values)[0]) == 1
