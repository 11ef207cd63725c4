"""Held-out time: no window touches it, no rate is measured in it, and no weight depends on it."""

from dataclasses import replace

import numpy as np
import pytest
from safetensors.torch import load_file

from foundation.common.errors import ConfigError
from foundation.data import DataSettings, StepPlan, ViewSpec
from foundation.data.covariate_settings import SurroundSettings
from foundation.objectives import DecodingSettings, MaskedSettings, NeurPIRSettings, ObjectiveSettings
from foundation.store import Catalog, Interval, IrregularTimeSeries, Source, Spikes, Store, write_recording
from foundation.training import ModelSettings, pretrain
from foundation.training.inputs.training_recordings import choose_recordings, measured_rates

HELD = [[20.0, 30.0]]
TRIALS = Interval(np.arange(1.0, 60.0, 4.0), np.arange(1.0, 60.0, 4.0) + 1.25)


def population_run(tiny, folder, store, made_windows=0.0, **data):
    """Settings of a short masked run."""
    return tiny(
        store=str(store),
        output=str(folder),
        steps=3,
        model=ModelSettings(
            dim=16,
            heads=2,
            individual_layers=1,
            interaction_layers=0,
            population_layers=1,
            made_rows=bool(made_windows),
        ),
        data=DataSettings(bin_widths=[0.025], tokens_per_step=2048, min_windows=4, max_units=12, **data),
        objective=ObjectiveSettings(
            "masked", masked=MaskedSettings(min_tokens=2, max_tokens=10, made_windows=made_windows)
        ),
    )


def test_windows_stay_away_from_held_out_time(tmp_path, make_recording):
    store = Store(tmp_path / "store", create=True)
    write_recording(store, make_recording(0, domain=TRIALS, resolution=0.1))
    write_recording(store, make_recording(1))
    catalog = Catalog.build(store)
    cut, other = catalog.ids
    settings = DataSettings(bin_widths=[0.025, 0.05], tokens_per_step=2048, max_units=8)
    spec = ViewSpec(views=2, min_tokens=2, max_tokens=6, candidates=1, max_distance=3.0, cut=True)

    def views(**changes):
        plan = StepPlan(catalog, replace(settings, **changes), spec, bins_per_token=4, seed=0)
        windows = [w for step in range(30) for w in plan(step)]
        return [(w.recording, v.start, v.start + v.n_bins * w.bin_width) for w in windows for v in w.views]

    assert any(start < 30 and end > 20 for name, start, end in views() if name == cut)
    for gap, away in ((None, 1.2), (0.3, 0.3), (0.0, 0.0)):  # the longest window: 6 tokens of 0.2 s
        drawn = views(held_out_time={cut: HELD}, held_out_gap=gap)
        mine = np.array([(start, end) for name, start, end in drawn if name == cut])
        assert ((mine[:, 1] <= 20 - away + 1e-6) | (mine[:, 0] >= 30 + away - 1e-6)).all()
        steps = (mine[:, 0] - 1.0) % 4 / 0.1
        np.testing.assert_allclose(steps, np.rint(steps), atol=1e-6)  # bins keep their place in the trial
        assert any(start < 30 and end > 20 for name, start, end in drawn if name == other)


def test_rates_are_measured_without_held_out_time(tiny, tmp_path, make_recording):
    store = Store(tmp_path / "store", create=True)
    early, late = np.arange(0.0, 20.0, 0.1), np.arange(20.0, 30.0, 0.01)
    write_recording(store, make_recording(0, n_units=2, spikes=Spikes.from_trains([early, np.append(late, 40.0)])))
    catalog = Catalog.build(store)
    (name,) = catalog.ids
    settings = population_run(tiny, tmp_path / "run", tmp_path / "store", held_out_time={name: HELD})
    assert measured_rates(settings, catalog)[name].exp().numpy() == pytest.approx([200 / 50, 1 / 50])
    whole = population_run(tiny, tmp_path / "run", tmp_path / "store")
    assert measured_rates(whole, catalog)[name].exp().numpy() == pytest.approx([200 / 60, 1001 / 60])


def test_weights_do_not_depend_on_held_out_spikes(tiny, tmp_path, make_recording):
    plain = make_recording(0)
    trains = [plain.spikes.train(unit) for unit in range(12)]
    rng = np.random.default_rng(0)
    other = [np.sort(np.append(t[(t < 20) | (t >= 30)], rng.uniform(20, 30, 500).round(4))) for t in trains]
    weights = {}
    for spikes, name in ((trains, "plain"), (other, "other")):
        store = Store(tmp_path / name, create=True)
        write_recording(
            store, make_recording(0, spikes=Spikes.from_trains(spikes), source=Source(path="a.nwb", digest="0" * 64))
        )
        catalog = Catalog.build(store)
        held = {"held_out_time": {catalog.ids[0]: HELD}}
        for data in ({}, held, held | {"made_windows": 0.5}):
            folder = pretrain(population_run(tiny, tmp_path / f"{name}-{len(data)}", tmp_path / name, **data))
            weights[name, len(data)] = load_file(folder / "model.safetensors")
            assert ("10 s in all were held out" in (folder / "README.md").read_text()) == bool(data)
    assert not all((weights["plain", 0][k] == weights["other", 0][k]).all() for k in weights["plain", 0])
    for kind in (1, 2):
        assert all((weights["plain", kind][k] == weights["other", kind][k]).all() for k in weights["plain", kind])
    assert weights["plain", 2]["population.rows.identity_0"].abs().sum() > 0


def test_weights_do_not_depend_on_held_out_labels(tiny, tmp_path, make_recording):
    times = np.arange(0.0, 60.0, 0.05)
    plain = np.stack([np.sin(times), np.cos(times)], axis=1)
    other = np.where(((times >= 20) & (times < 30))[:, None], 50.0, plain)
    weights = {}
    for name, velocity in (("plain", plain), ("other", other)):
        store = Store(tmp_path / name, create=True)
        behavior = {"velocity": IrregularTimeSeries(times, velocity)}
        write_recording(store, make_recording(0, behavior=behavior, source=Source(path="a.nwb", digest="0" * 64)))
        catalog = Catalog.build(store)
        for data in ({}, {"held_out_time": {catalog.ids[0]: HELD}}):
            settings = population_run(tiny, tmp_path / f"{name}-{len(data)}", tmp_path / name, **data)
            decoding = ObjectiveSettings("decoding", decoding=DecodingSettings(min_tokens=2, max_tokens=10))
            folder = pretrain(replace(settings, objective=decoding))
            weights[name, len(data)] = load_file(folder / "model.safetensors")
    assert not all((weights["plain", 0][k] == weights["other", 0][k]).all() for k in weights["plain", 0])
    assert all((weights["plain", 1][k] == weights["other", 1][k]).all() for k in weights["plain", 1])


def test_run_without_held_out_time_is_unchanged(tiny):
    plain = tiny().identity()["data"]
    assert not {"held_out_time", "held_out_gap"} & set(plain)
    held = tiny(data=replace(tiny().data, held_out_time={"a": HELD})).identity()["data"]
    assert held == plain | {"held_out_time": {"a": HELD}, "held_out_gap": None}


@pytest.mark.parametrize("spans", [[[3.0, 2.0]], [[1.0]], [[0.0, float("inf")]], []])
def test_invalid_intervals_are_refused(spans):
    with pytest.raises(ConfigError, match=r"data\.held_out_time has .* for 'a': expected"):
        DataSettings(held_out_time={"a": spans})


def test_unobserved_time_and_surrounding_information_are_refused(tiny, small_store, tmp_path):
    catalog = Catalog.open(Store(small_store))
    one = catalog.ids[0]

    def run(held):
        return population_run(tiny, tmp_path / "run", small_store, held_out_time=held)

    with pytest.raises(ConfigError, match=r"data\.held_out_time names recording 'nowhere': expected ids"):
        choose_recordings(run({one: HELD, "nowhere": HELD}), catalog)
    with pytest.raises(ConfigError, match=r"has \[70, 80\] for sub-\d\.nwb: .* between 0 and 60"):
        pretrain(run({one: [*HELD, [70.0, 80.0]]}))
    with pytest.raises(ConfigError, match="leaves no window of 2 tokens of sub"):
        pretrain(run({one: [[1.0, 59.5]]}))
    around = ObjectiveSettings(neurpir=NeurPIRSettings(4, 12, projector=[32], surround=SurroundSettings("raw")))
    with pytest.raises(ConfigError, match=r"expected none if the objective has surrounding information"):
        pretrain(tiny(objective=around, data=replace(tiny().data, held_out_time={one: HELD})))
