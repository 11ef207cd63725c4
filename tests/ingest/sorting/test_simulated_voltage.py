"""Simulated voltage: the true spikes match the settings, and files store them."""

import numpy as np
import pytest
from pynwb import NWBHDF5IO

from foundation.common.errors import ConfigError, SourceError
from ingest.sorting.simulation.simulated_templates import family_templates, peak_sample, read_templates
from ingest.sorting.simulation.simulated_voltage import make_background, simulate_session, spike_train
from ingest.sorting.simulation.simulated_voltage_settings import SessionSettings, VoltageSettings
from ingest.sorting.simulation.voltage_simulation import simulate_voltage

QUICK = SessionSettings(seconds=20.0, min_rate=2.0, max_rate=6.0, background_units=80)


def test_snr_and_noise_are_as_stated():
    session = simulate_session(QUICK, 4, 1)
    peak = peak_sample(QUICK.sampling_rate)
    quiet = simulate_session(SessionSettings(seconds=20.0, background_units=80, near_units=0), 0, 1)
    assert quiet.noise_C[0] == pytest.approx(10.0, rel=0.02)
    assert session.noise_C[0] == pytest.approx(10.0, rel=0.05)
    for u in range(4):
        assert 3 <= session.snr_U[u] <= 15
        assert session.template_UCT[u, 0].argmin() == peak
        assert -session.template_UCT[u, 0, peak] == pytest.approx(session.snr_U[u] * session.noise_C[0], rel=1e-5)


def test_voltage_holds_the_units_at_their_times():
    session = simulate_session(QUICK, 3, 2)
    peak, rate = peak_sample(QUICK.sampling_rate), QUICK.sampling_rate
    for u, times in enumerate(session.times):
        sample_N = np.rint(times * rate).astype(int)
        around = session.x_TC[sample_N[:, None] + np.arange(-peak, peak), 0].mean(axis=0)
        template = session.template_UCT[u, 0, : 2 * peak]
        spread = 4 * 10.0 / len(times) ** 0.5 + 0.1 * np.abs(template).max()  # noise, and peaks between samples
        assert np.abs(around - template).max() < spread


def test_given_spike_trains_replace_drawn_ones():
    trains = [np.arange(0.5, 19.0, 0.25), np.array([])]
    session = simulate_session(QUICK, 2, 2, trains)
    assert [train.tolist() for train in session.times] == [train.tolist() for train in trains]
    peak, at_N = peak_sample(QUICK.sampling_rate), np.rint(trains[0] * QUICK.sampling_rate).astype(int)
    around = session.x_TC[at_N[:, None] + np.arange(-peak, peak), 0].mean(axis=0)
    assert np.corrcoef(around, session.template_UCT[0, 0, : 2 * peak])[0, 1] > 0.9


@pytest.mark.parametrize("bursts", [False, True])
def test_refractory_period_and_rate_are_kept(bursts):
    settings = SessionSettings(seconds=2000.0, refractory=0.004)
    times, sizes = spike_train(settings, 6.0, bursts, np.random.default_rng(0))
    assert np.diff(times).min() >= 0.004
    assert len(times) / 2000.0 == pytest.approx(6.0, rel=0.06)
    assert (sizes.min() < 0.9) == bursts


def test_drift_changes_only_amplitudes():
    still, drifting = (simulate_session(SessionSettings(**(vars(QUICK) | {"drift": d})), 2, 3) for d in (0.0, 0.5))
    assert all(np.array_equal(a, b) for a, b in zip(still.times, drifting.times, strict=True))
    assert not np.array_equal(still.x_TC, drifting.x_TC)


def test_same_seed_gives_the_same_voltage():
    a, b, c = (simulate_session(QUICK, 2, seed) for seed in (4, 4, 5))
    assert np.array_equal(a.x_TC, b.x_TC)
    assert not np.array_equal(a.x_TC, c.x_TC)


def test_unit_amplitude_decays_over_the_channels_of_a_probe():
    session = simulate_session(SessionSettings(seconds=2.0, electrodes="probe", background_units=10), 5, 0)
    size_UC = np.abs(session.template_UCT).max(axis=2)
    far_UC = np.linalg.norm(session.positions_C2[session.channel_U][:, None] - session.positions_C2, axis=2)
    assert session.x_TC.shape == (48_000, 32)
    assert (size_UC.argmax(axis=1) == session.channel_U).all()
    assert (size_UC[far_UC > 200] < 0.1 * size_UC.max()).all()


def test_templates_of_a_file_are_its_class_means(tmp_path):
    rng = np.random.default_rng(0)
    shape = -family_templates(3, 24_000.0, rng)[:, 0, :48] * np.array([[40.0], [60.0], [10.0]])
    truth = np.repeat([1, 2, 3], 50)
    file = tmp_path / "labelled.npz"
    np.savez(file, waveforms=shape[truth - 1] + rng.normal(0, 1, (150, 48)), true_class=truth)
    means = read_templates([file], 24_000.0)
    assert len(means) == 2  # the small one is multi-unit activity
    assert np.corrcoef(means[0][0], shape[0])[0, 1] > 0.99
    settings = SessionSettings(seconds=2.0, templates=[str(file)], background_units=5)
    assert np.corrcoef(simulate_session(settings, 2, 0).template_UCT[:, 0])[0, 1] < 0.999
    with pytest.raises(ConfigError, match="templates hold 2 units: expected at least 3; add more files"):
        simulate_session(settings, 3, 0)
    np.savez(file, waveforms=shape)
    with pytest.raises(SourceError, match=r"cannot read templates from .*labelled"):
        read_templates([file], 24_000.0)


def test_background_alone_gives_no_unit():
    x_CT = make_background(QUICK, np.zeros((1, 2)), family_templates(4, 24_000.0, np.random.default_rng(0)), 48_000,
                           np.random.default_rng(1))  # fmt: skip
    assert x_CT.shape == (1, 48_000)
    assert simulate_session(QUICK, 0, 0).times == []


def test_files_hold_voltage_and_truth_and_are_equal_bytes(tmp_path):
    session = SessionSettings(seconds=3.0, electrodes="tetrode", background_units=20, min_rate=5.0, max_rate=9.0)
    made = []
    for name in ("a", "b"):
        settings = VoltageSettings(str(tmp_path / name), min_units=0, max_units=2, sessions_each=1, session=session)
        made.append(simulate_voltage(settings))
    assert [p.read_bytes() for p in made[0]] == [p.read_bytes() for p in made[1]]
    truth = simulate_session(session, 2, [0, 2, 0])
    with NWBHDF5IO(str(made[0][2]), "r") as io:
        nwb = io.read()
        series = nwb.acquisition["ElectricalSeries"]
        assert np.abs(series.data[:] * series.conversion * 1e6 - truth.x_TC).max() < 0.1
        assert series.rate == 24_000.0
        assert nwb.units["snr"][:] == pytest.approx(truth.snr_U)
        assert np.array_equal(nwb.units["spike_times"][1], truth.times[1])
        assert nwb.units["waveform_mean"][0].shape == truth.template_UCT[0].T.shape


def test_invalid_settings_are_named(tmp_path):
    with pytest.raises(ConfigError, match=r"session.max_snr is 2: expected at least session.min_snr, 3"):
        SessionSettings(max_snr=2.0)
    with pytest.raises(ConfigError, match=r"session.max_rate is 400: expected below 0.5 / refractory, 250"):
        SessionSettings(max_rate=400.0)
    with pytest.raises(ConfigError, match="max_units is 1: expected at least min_units, 2"):
        VoltageSettings("x", max_units=1)
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="which is a file"):
        simulate_voltage(VoltageSettings(str(tmp_path / "file")))
