"""The map of units: properties of each unit, one row per unit for several models, and the page of a store."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from foundation.common.errors import ConfigError
from foundation.embedding.embed_job import embed
from foundation.embedding.embed_settings import EmbedSettings
from foundation.embedding.unit_facts import ISI_EDGES, unit_facts
from foundation.embedding.unit_map import Placed, neuron_table
from foundation.models import EIT, EITConfig
from foundation.store import Catalog, Store


@pytest.fixture(scope="module")
def recordings(small_store):
    return list(Catalog.open(Store(small_store)))


def test_facts_match_the_spikes(recordings):
    pick = np.array([0, 0, 1]), np.array([3, 11, 5])
    facts = unit_facts(recordings[:2], *pick)
    for row, (k, unit) in enumerate(zip(*pick, strict=True)):
        recording = recordings[k]
        train = recording.load().spikes.train(int(unit))
        assert facts["number:rate (Hz)"][row] == pytest.approx(len(train) / 60.0)
        counts = np.array([((np.diff(train) >= a) & (np.diff(train) < b)).sum() for a, b in pairwise(ISI_EDGES)])
        assert np.abs(facts["isi_SB"][row] - 255 * counts / counts.max()).max() <= 0.5
        assert facts["text:cell type"][row] == recording.units.text("cell_type")[unit]
        assert facts["text:animal"][row] == recording.record.subject


def test_unit_of_two_models_is_one_row_with_two_positions(recordings):
    rng = np.random.default_rng(0)
    first, second = np.arange(12), np.arange(6, 12)
    placed = [
        Placed("small", {**unit_facts(recordings[:1], 0 * first, first), "z_SD": rng.normal(size=(12, 3))},
               {"cell type": np.array(["fast"] * 12, dtype=object)}),
        Placed("large", {**unit_facts(recordings[:1], 0 * second, second), "z_SD": rng.normal(size=(6, 5))}),
    ]  # fmt: skip
    table = neuron_table(placed)
    assert table.n_units == 12
    assert [name.split(":")[0] for name in table.layouts] == ["small", "small", "large"]
    large = table.layouts[list(table.layouts)[-1]]
    assert len(np.unique(large[:6], axis=0)) == 1  # units without a position
    assert len(np.unique(large[6:], axis=0)) == 6
    assert table.columns["cell type by small"].tolist() == ["fast"] * 12
    assert next(iter(table.columns)) == "neuron"
    assert neuron_table([]) is None


def test_embed_writes_a_page_with_all_units(small_store, tmp_path):
    torch.manual_seed(0)
    EIT(EITConfig(dim=16, heads=2, individual_layers=1, interaction_layers=1)).save_pretrained(tmp_path / "model")
    page = tmp_path / "units.html"
    settings = EmbedSettings(
        str(tmp_path / "model"),
        str(small_store),
        output=str(tmp_path / "out"),
        bin_width=0.02,
        tokens=8,
        page=str(page),
    )
    embed(settings)
    text = page.read_text()
    assert "48 units, each placed by a pretrained model" in text
    assert text.count("mouse3") >= 12
    with pytest.raises(ConfigError, match=r"page is 'units.png': expected the name of an .html file"):
        EmbedSettings("model", "store", page="units.png")
