"""Labels at the tokens of windows: values and classes, without those of held-out time."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from foundation.common.errors import ConfigError
from foundation.data import pad_windows
from foundation.data.labels import LabelNames, RunLabels
from foundation.store import Catalog, Interval, IrregularTimeSeries, Source, Store, write_recording

TIMES = np.arange(0.0, 60.0, 0.02)
NAMES = LabelNames(("velocity", "position"), ("trials.direction", "trials.kind"), {"trials": 5.0, "hold": 0.1})
STARTS = np.arange(0.0, 60.0, 2.0)


def labelled(make_recording, seed=0, velocity=None, direction=None, **changes):
    velocity = np.stack([np.sin(TIMES), 3 + 2 * np.cos(TIMES)], axis=1) if velocity is None else velocity
    direction = np.arange(30) % 4 * np.pi / 2 if direction is None else direction
    columns = {"direction": direction, "kind": np.array(["a", "b", ""] * 10)}
    return make_recording(
        seed,
        behavior={"velocity": IrregularTimeSeries(TIMES, velocity, "cm/s")},
        intervals={
            "trials": Interval(STARTS, STARTS + 1.0, columns),
            "hold": Interval(STARTS, STARTS + 0.3),
        },
        **changes,
    )


@pytest.fixture
def catalog_of(tmp_path):
    def build(*recordings, name="store"):
        store = Store(tmp_path / name, create=True)
        for recording in recordings:
            write_recording(store, recording)
        return Catalog.build(store)

    return build


def windows(starts, recordings):
    batch = pad_windows(
        [np.ones((2, 20))] * len(starts),
        bin_widths=[0.1] * len(starts),
        starts=starts,
        modalities=[0] * len(starts),
        bins_per_token=2,
    )
    batch.recording_B = torch.tensor(recordings)
    return batch


def test_tokens_have_the_labels_at_their_middles(make_recording, catalog_of):
    catalog = catalog_of(labelled(make_recording), make_recording(1))
    known = next(r.id for r in catalog if r.behavior)
    ids = [known, next(name for name in catalog.ids if name != known)]
    labels = RunLabels(catalog, NAMES)
    assert (labels.shape.sessions, labels.shape.values, labels.shape.classes) == (1, 2, (4, 2))
    batch = labels.placed(windows([4.0, 3.0], [0, 1]), ids, 2)
    assert batch.session_B.tolist() == [0, -1]
    middle_T = 4.0 + 0.2 * (np.arange(10) + 0.5)
    data = np.stack([np.sin(TIMES), 3 + 2 * np.cos(TIMES)], axis=1)
    true_TK = np.stack([np.sin(middle_T), 3 + 2 * np.cos(middle_T)], axis=1)
    np.testing.assert_allclose(batch.value_BTK[0].numpy(), (true_TK - data.mean(0)) / data.std(0), atol=1e-3)
    assert batch.class_BTC[0, :, 0].tolist() == [2] * 5 + [-1] * 5  # the third trial, then none
    assert batch.class_BTC[0, :, 1].tolist() == [-1] * 10  # series of this kind are missing
    assert batch.weight_BT[0].tolist() == pytest.approx([0.1] + [5.0] * 4 + [1.0] * 5)
    assert batch.value_BTK[1].isnan().all()
    assert (batch.class_BTC[1] == -1).all()


def test_held_out_labels_are_not_read(make_recording, catalog_of):
    held, ids = [[20.0, 30.0]], {}
    other_velocity = np.stack([np.sin(TIMES), 3 + 2 * np.cos(TIMES)], axis=1)
    other_velocity[(TIMES >= 20) & (TIMES < 30)] = 1000.0
    other_direction = np.arange(30) % 4 * np.pi / 2
    other_direction[10:15] = 3.0  # a class that occurs nowhere else
    source = Source("a.nwb", "0" * 64)
    found = {}
    for name, changes in (("plain", {}), ("other", {"velocity": other_velocity, "direction": other_direction})):
        catalog = catalog_of(labelled(make_recording, source=source, **changes), name=name)
        (ids[name],) = catalog.ids
        for kept in (True, False):
            labels = RunLabels(catalog, NAMES, {ids[name]: held} if kept else None)
            batch = labels.placed(windows([18.0, 19.0, 24.0, 29.0, 40.0], [0] * 5), catalog.ids, 2)
            found[name, kept] = labels.shape, batch
    for (shape, one), (other_shape, two) in [(found["plain", True], found["other", True])]:
        assert shape == other_shape
        assert torch.equal(one.value_BTK.nan_to_num(99), two.value_BTK.nan_to_num(99))
        assert torch.equal(one.class_BTC, two.class_BTC)
        assert one.value_BTK[2].isnan().all()
        assert (one.class_BTC[2] == -1).all()
        assert one.value_BTK[4].isfinite().all()
    assert found["plain", False][0] != found["other", False][0]
    assert not torch.equal(found["plain", False][1].value_BTK, found["other", False][1].value_BTK)


def test_labels_that_no_recording_has_are_refused(make_recording, catalog_of):
    catalog = catalog_of(labelled(make_recording))
    with pytest.raises(ConfigError, match=r"none of 1 recordings has labels wheel, trials\.colour: expected"):
        RunLabels(catalog, LabelNames(("wheel",), ("trials.colour",)))
    unnamed = replace(windows([4.0], [0]), recording_B=None)
    with pytest.raises(ValueError, match="recording_B is None"):
        RunLabels(catalog, NAMES).placed(unnamed, catalog.ids, 2)
