"""`model.embed(recording)`: one row per unit, in the windows of the checkpoint's pretraining."""

import numpy as np
import pyarrow as pa
import pytest

from foundation.common.errors import CheckpointError
from foundation.embedding import EmbedSettings, embed, embed_units
from foundation.embedding.frozen_embeddings import NoWindowError
from foundation.models import EIT, EITConfig
from foundation.store import Catalog, RegularTimeSeries, Store, Units
from foundation.store.derived import Derived

OWN = {"bin_widths": [0.02, 0.5], "tokens": 10, "kinds": ["spikes"], "min_tokens": 6}


@pytest.fixture(scope="module")
def model():
    return EIT(EITConfig(dim=8, heads=2, individual_layers=1, patch_length=2, preprocessing=OWN)).eval()


def test_table_has_a_row_of_properties_for_each_unit(model, make_recording):
    recording = make_recording(
        1, units=Units(12, {"id": np.arange(12) + 40, "location": np.array(["CA1"] * 6 + [""] * 6)})
    )
    table = model.embed(recording)
    assert isinstance(table, pa.Table)
    assert table.column_names == ["recording", "unit", "id", "location", "region", "cell_type", "rate", "embedding"]
    assert table.column("id").to_pylist() == list(range(40, 52))
    assert table.column("location").to_pylist() == ["CA1"] * 6 + [None] * 6
    assert table.column("region").null_count == table.column("cell_type").null_count == 12
    assert table.column("rate").to_pylist() == pytest.approx(recording.spikes.counts / 60.0)
    assert np.stack(table.column("embedding").to_pylist()).shape == (12, 8)


def test_stored_and_in_memory_recordings_give_equal_bits(model, small_store, make_recording):
    stored = next(iter(Catalog.open(Store(small_store))))
    seed = int(stored.session.removeprefix("session"))
    assert model.embed(stored).equals(model.embed(make_recording(seed)))


def test_windows_are_those_of_pretraining_by_default(model, small_store):
    stored = next(iter(Catalog.open(Store(small_store))))

    def expected(width, n_bins):
        return embed_units(model, stored, bin_width=width, n_bins=n_bins)

    def found(**options):
        return np.array(model.embed(stored, **options).column("embedding").to_pylist(), dtype=np.float32)

    assert np.array_equal(found(), expected(0.02, 20))
    assert np.array_equal(found(bin_width=0.5, tokens=3), expected(0.5, 6))
    assert not np.array_equal(found(), found(bin_width=0.5))


def test_command_uses_the_same_windows(model, small_store, tmp_path):
    model.save_pretrained(tmp_path / "model")
    embed(EmbedSettings(str(tmp_path / "model"), str(small_store), output=str(tmp_path / "out")))
    for stored in Catalog.open(Store(small_store)):
        with np.load(tmp_path / "out" / f"{stored.id}.npz") as file:
            assert file["z_ND"].tolist() == model.embed(stored).column("embedding").to_pylist()
    assert not list(Derived.find(Store(small_store), "unit-embedding-1"))


def values(make_recording):
    data = np.random.default_rng(0).normal(size=(600, 3)).astype(np.float32)
    series = RegularTimeSeries(data, rate=10.0, start=0.0, unit="dF/F")
    return make_recording(3, units=Units(3), spikes=None, activity=series, activity_kind="values")


def test_model_with_an_untrained_unit_stream_is_refused(small_store, tmp_path):
    own = OWN | {"units_trained": False}
    model = EIT(EITConfig(dim=8, heads=2, individual_layers=1, population_layers=1, preprocessing=own))
    assert model.config.preprocessing == own
    message = (
        "pretrained by masked modelling of the population alone.*choose a model that was pretrained with an objective"
    )
    with pytest.raises(CheckpointError, match=message):
        model.embed(next(iter(Catalog.open(Store(small_store)))))
    model.save_pretrained(tmp_path / "model")
    with pytest.raises(CheckpointError, match=message):
        embed(EmbedSettings(str(tmp_path / "model"), str(small_store), output=str(tmp_path / "out")))


def test_kind_of_activity_new_to_the_model_is_refused(model, make_recording):
    with pytest.raises(CheckpointError, match=r"holds values, and the model was pretrained on spikes alone: choose"):
        model.embed(values(make_recording))
    other = EIT(EITConfig(dim=8, heads=2, individual_layers=1, preprocessing=OWN | {"kinds": ["values"]}))
    assert other.embed(values(make_recording)).num_rows == 3
    with pytest.raises(CheckpointError, match=r"holds spikes, and the model was pretrained on values alone"):
        other.embed(make_recording(1))


def test_short_recording_gets_shorter_windows(model, make_recording):
    recording = make_recording(1, seconds=0.3)
    assert model.embed(recording).equals(model.embed(recording, tokens=7))
    with pytest.raises(NoWindowError, match=r"a window of 12 bins of 0\.02 s does not fit 0\.200 s"):
        model.embed(make_recording(1, seconds=0.2))
