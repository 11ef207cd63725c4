"""A model's features of a population over time, for any recording of a store."""

import numpy as np
import torch

from foundation.data.reading.reader import ActivityReader, ReaderCache
from foundation.embedding.population_tokens import token_parts
from foundation.models import EIT, EITConfig
from foundation.models.parts.population_stream import population_places
from foundation.store import Catalog, Store, write_recording


def tokens(model, reader):
    [(_, x_PTF)] = token_parts(model, reader, reader.domain.start[:1], bin_width=0.1, n_bins=4)
    return x_PTF


def test_every_recording_is_read_with_its_own_rows(tmp_path, make_recording):
    store = Store(str(tmp_path / "store"), create=True)
    for seed in (1, 2):
        write_recording(store, make_recording(seed), "recipe")
    first, second = Catalog.build(store)
    together = ReaderCache(Catalog.build(store))
    model = EIT(EITConfig(dim=8, heads=2, individual_layers=1, patch_length=2, population_layers=1))
    model.add_populations({r.id: torch.zeros(together(r.id).n_units) for r in (second, first)})
    before = {r.id: tokens(model, together(r.id)) for r in (first, second)}
    for recording in (first, second):
        alone = tokens(model, ActivityReader(recording))
        assert np.array_equal(before[recording.id], alone), "its place in the store does not choose its rows"
    place, n_units = population_places(model.config)[second.id]
    with torch.no_grad():
        model.population.rows.table_0[place : place + n_units] += 1.0
    assert np.array_equal(tokens(model, together(first.id)), before[first.id])
    assert not np.array_equal(tokens(model, together(second.id)), before[second.id])
