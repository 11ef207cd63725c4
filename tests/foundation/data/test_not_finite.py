"""A store of an earlier release may hold infinite numbers: none reaches a model, a readout or derived/."""

import numpy as np
import pytest
import torch

from finetune.tasks.problems.spike_statistics import unit_statistics
from foundation.common.errors import CheckpointError, StoreError
from foundation.data import ActivityReader
from foundation.data.covariate_settings import SurroundSettings
from foundation.data.covariates import Surroundings, channels
from foundation.embedding.frozen_embeddings import embed_units, embed_windows
from foundation.models import EIT, EITConfig
from foundation.store import Interval, RegularTimeSeries, Store, StoredRecording, Units, write_recording
from foundation.store.derived import Derived

ABSURD = [np.inf, -np.inf, np.nan, 1e300]


@pytest.fixture(params=["float64 values", "float32 values", "counts"])
def recording(request, tmp_path, make_recording):
    """Sampled activity, behaviour, trials and a unit column with infinite and huge numbers among good ones."""
    rng = np.random.default_rng(0)
    kind = request.param.split()[-1]
    data = rng.poisson(3.0, (600, 5)).astype(np.float64 if "64" in request.param or kind == "counts" else np.float32)
    with np.errstate(over="ignore"):
        data[100:104, 2] = ABSURD
    if kind == "counts":
        data[104, 2] = -1.0
    speed = rng.normal(size=(600, 2))
    speed[50:54, 1] = ABSURD
    starts = np.arange(0.0, 60.0, 10.0)
    parts = {
        "units": Units(5, {"depth": np.array([*ABSURD, 1.0])}),
        "spikes": None,
        "activity": RegularTimeSeries(data, 10.0),
        "activity_kind": kind,
        "behavior": {"speed": RegularTimeSeries(speed, 10.0)},
        "intervals": {"trials": Interval(starts, starts + 5, {"contrast": np.array([*ABSURD, 0.5, 1.0])})},
    }
    store = Store(tmp_path / "store", create=True)
    return StoredRecording(store, write_recording(store, make_recording(0, **parts)))


def tiny_model():
    torch.manual_seed(0)
    return EIT(EITConfig(dim=16, heads=2, individual_layers=1, interaction_layers=1))


def test_windows_and_embeddings_are_finite(recording):
    reader = ActivityReader(recording)
    x_NT = reader.read(reader.table([0.0], 600, 0.1)).x_BNT[0].numpy()
    assert x_NT.shape == (5, 600)
    assert np.isfinite(x_NT).all()
    assert (x_NT >= 0).all()
    assert not x_NT[2, 100:104].any()
    assert np.isfinite(embed_units(tiny_model(), recording, bin_width=0.1, n_bins=60)).all()


def test_stored_recording_reads_as_finite_or_nan(recording):
    written = recording.load()
    assert np.isinf(written.activity.data).any()
    for values in (
        recording.activity.data,
        recording.behavior["speed"].data,
        recording.intervals["trials"].columns["contrast"],
        recording.units["depth"],
    ):
        assert not np.isinf(values).any()
        assert np.nanmax(np.abs(values)) < 1e3
    assert np.isfinite(recording.firing_rates()).all()
    assert np.isfinite(unit_statistics(recording, np.arange(5))).all()


def test_surrounding_information_and_its_cache_are_finite(recording):
    x_TC, _ = channels(recording, 0.1)
    assert x_TC.shape[1] >= 4
    assert np.isfinite(x_TC).all()
    around = Surroundings(recording.store, [recording.record], SurroundSettings(kind="raw", dim=3))
    assert np.isfinite(around(recording.id, 0.0, 10.0)).all()
    assert np.isfinite(around._derived(recording.record).read("e")).all()


def test_derived_refuses_values_that_are_not_finite(tmp_path):
    store = Store(tmp_path / "store", create=True)
    derived = Derived(store, "embedding", {}, ["x"])
    for absurd in ABSURD:
        with pytest.raises(StoreError, match=r"embedding array 'z' has 1 values that are not finite"):
            derived.write({"z": np.array([1.0, absurd])})
    assert not derived.exists()


def test_surroundings_of_an_earlier_release_are_named(recording, monkeypatch):
    around = Surroundings(recording.store, [recording.record], SurroundSettings(kind="raw", dim=3))
    derived = around._derived(recording.record)
    with monkeypatch.context() as patch:  # an earlier release did not check
        patch.setattr("foundation.store.derived.is_finite", lambda values: np.ones(np.shape(values), dtype=bool))
        derived.write({"e": np.full((600, 3), np.nan, np.float32)}, {"start": 0.0})
    with pytest.raises(StoreError, match=f"{derived.folder}/e has values that are not finite: remove the folder"):
        around(recording.id, 0.0, 10.0)


def test_diverged_model_embeds_nothing(make_recording, tmp_path):
    store = Store(tmp_path / "store", create=True)
    stored = StoredRecording(store, write_recording(store, make_recording(0)))
    model = tiny_model()
    with torch.no_grad():
        next(model.parameters()).fill_(torch.inf)
    with pytest.raises(CheckpointError, match="values of its embeddings are not finite; the model diverged"):
        embed_windows(model, stored, np.array([0.0]), bin_width=0.01, n_bins=100)
