"""The simulation: firing modes, the structure of its input, its files."""

import numpy as np
import pytest

from foundation.common.errors import ConfigError
from ingest.nwb.read_nwb import digest_of, read_nwb
from ingest.simulate import SimulateSettings, listing, simulate_izhikevich
from ingest.simulate.simulated_network import AREAS, MODES, PARAMETERS, make_network
from ingest.simulate.simulated_session import integrate, make_session

SMALL = {"networks": 2, "neurons": 20, "seconds": 60.0, "wake": 20.0, "nrem": 12.0, "rem": 8.0}


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    return SimulateSettings(str(tmp_path_factory.mktemp("sim") / "nwb"), networks=2, neurons=50, seconds=200.0)


@pytest.fixture(scope="module")
def paths(settings):
    return simulate_izhikevich(settings)


@pytest.fixture(scope="module")
def recordings(paths):
    return [read_nwb(str(path)) for path in paths]


def trains_of(recording, mode):
    return [recording.spikes.train(n) for n in np.flatnonzero(recording.units["cell_type"] == mode)]


def short_share(trains, seconds=0.010):
    intervals = np.concatenate([np.diff(train) for train in trains])
    return float((intervals < seconds).mean())


def test_step_follows_the_published_equations():
    """One neuron without input against the equations written out in NumPy."""
    settings = SimulateSettings("x", neurons=10, seconds=2.0, synapses=0, jitter=0.0, states=False, reaches=False)
    network = make_network(settings, np.random.default_rng(0))
    session = make_session(settings, np.random.default_rng(0))
    network.noise_N[:] = 0.0
    network.drive_N[:] = 10.0
    trains = integrate(network, session, np.random.default_rng(0))
    for n, mode in enumerate(network.cell_types):
        a, b, c, d = PARAMETERS[mode]
        v, u, expected = -65.0, b * -65.0, []
        for t in range(2000):
            if v >= 30:
                expected.append(t / 1000)
                v, u = c, u + d
            for _ in range(2):
                v += 0.5 * (0.04 * v * v + 5 * v + 140 - u + 10.0)
            u += a * (b * v - u)
        assert len(expected) > 5
        assert trains[n].tolist() == expected


def test_spike_arrives_at_its_targets_a_step_later():
    settings = SimulateSettings("x", neurons=10, seconds=1.0, synapses=1, states=False, reaches=False)
    network = make_network(settings, np.random.default_rng(0))
    session = make_session(settings, np.random.default_rng(0))
    network.noise_N[:] = 0.0
    network.drive_N[:] = 0.0
    network.drive_N[0] = 10.0
    network.weights[:] = 500.0  # enough for a spike at once
    trains = integrate(network, session, np.random.default_rng(0))
    target = int(network.targets[0])
    # Sent at t, added to the input of step t + 1, above 30 mV by its end and so counted at t + 2.
    np.testing.assert_allclose(trains[target][0] - trains[0][0], 0.002, atol=1e-9)


def test_classes_and_areas_are_balanced(recordings):
    for recording in recordings:
        kinds = list(zip(recording.units["cell_type"].tolist(), recording.units["location"].tolist(), strict=True))
        assert {kind: kinds.count(kind) for kind in kinds} == {(m, a): 5 for m in MODES for a in AREAS}


@pytest.mark.parametrize("mode", MODES)
def test_rates_are_plausible(recordings, mode):
    for recording in recordings:
        rates = np.array([len(train) for train in trains_of(recording, mode)]) / 200.0
        assert 4.0 < rates.mean() < 30.0
        assert rates.min() > 1.0
        assert rates.max() < 45.0


def test_bursting_modes_have_more_short_intervals_than_regular_spiking(recordings):
    for recording in recordings:
        share = {mode: short_share(trains_of(recording, mode)) for mode in MODES}
        assert share["RS"] < 0.01
        assert share["IB"] > share["RS"] + 0.02
        assert share["CH"] > share["IB"] + 0.1
        assert share["FS"] < 0.02


def test_parameters_stay_within_the_jitter_of_their_mode(recordings, settings):
    for recording in recordings:
        for i, name in enumerate("abcd"):
            preset = np.array([PARAMETERS[mode][i] for mode in recording.units["cell_type"]])
            off = recording.units[name] / preset - 1.0
            assert np.abs(off).max() <= settings.jitter
            assert off.std() > settings.jitter / 4
    first, second = (recording.units["a"] for recording in recordings)
    assert not np.array_equal(first, second)


def test_no_jitter_gives_the_presets():
    network = make_network(SimulateSettings("x", jitter=0.0), np.random.default_rng(3))
    assert network.abcd_N4.tolist() == [list(PARAMETERS[mode]) for mode in network.cell_types]


def test_states_alternate_cover_the_session_and_differ_in_rate(recordings):
    for recording in recordings:
        states = recording.intervals["states"]
        assert states.start[0] == 0.0
        assert states.end[-1] == 200.0
        assert states.start[1:].tolist() == states.end[:-1].tolist()
        assert states.columns["state"].tolist() == [("wake", "nrem", "rem")[k % 3] for k in range(len(states))]
        rate = {}
        for state in ("wake", "nrem", "rem"):
            inside = states.where(states.columns["state"] == state)
            rate[state] = inside.contains(recording.spikes.times).sum() / inside.duration
        assert rate["wake"] > 1.2 * rate["nrem"] > 1.2 * rate["rem"] * 0.9


def test_nrem_swings_slowly_and_rem_in_theta(recordings):
    def power(recording, state, low, high):
        states = recording.intervals["states"]
        k = int(np.flatnonzero(states.columns["state"] == state)[0])
        counts = np.histogram(recording.spikes.times, np.arange(states.start[k], states.end[k], 0.02))[0]
        spectrum = np.abs(np.fft.rfft(counts - counts.mean())) ** 2
        frequency = np.fft.rfftfreq(len(counts), 0.02)
        return spectrum[(frequency >= low) & (frequency < high)].sum() / spectrum.sum()

    for recording in recordings:
        assert power(recording, "nrem", 0.4, 1.5) > 3 * power(recording, "rem", 0.4, 1.5)
        assert power(recording, "rem", 5.5, 8.5) > 2 * power(recording, "nrem", 5.5, 8.5)


def test_reaches_happen_awake_and_are_balanced(recordings):
    for recording in recordings:
        trials, states = recording.intervals["trials"], recording.intervals["states"]
        awake = states.where(states.columns["state"] == "wake")
        assert awake.covers(trials.start, trials.end).all()
        counts = np.bincount(trials.columns["target_id"], minlength=8)
        assert counts.max() - counts.min() <= 1
        np.testing.assert_allclose(trials.columns["direction"], trials.columns["target_id"] * np.pi / 4)


def test_hand_reaches_the_target_and_velocity_is_the_slope_of_position(recordings):
    for recording in recordings:
        position, velocity, trials = (
            recording.behavior["position"],
            recording.behavior["velocity"],
            recording.intervals["trials"],
        )
        assert position.rate == velocity.rate == 100.0
        assert position.data.shape == velocity.data.shape == (20_000, 2)
        slope = np.gradient(position.data.astype(np.float64), 0.01, axis=0)
        np.testing.assert_allclose(slope, velocity.data, atol=1.5)
        at_end = position.data[np.round(trials.end * 100).astype(int) - 5]
        direction = trials.columns["direction"]
        np.testing.assert_allclose(at_end, 8 * np.stack([np.cos(direction), np.sin(direction)], axis=1), atol=1e-3)
        assert np.abs(position.data[np.round(trials.start * 100).astype(int)]).max() < 1e-3
        assert 20 < np.linalg.norm(velocity.data, axis=1).max() < 35


def test_neurons_are_tuned_to_the_direction_of_reaches(recordings):
    """Counts of a reach against cosines of its direction explain far more than those of shuffled directions."""
    rng = np.random.default_rng(0)
    for recording in recordings:
        trials = recording.intervals["trials"]
        counts = np.array(
            [
                np.searchsorted(t, trials.columns["go_time"] + 0.5) - np.searchsorted(t, trials.columns["go_time"])
                for t in map(recording.spikes.train, range(recording.n_units))
            ]
        ).T.astype(float)

        def explained(direction, counts=counts):
            design = np.stack([np.ones_like(direction), np.cos(direction), np.sin(direction)], axis=1)
            fit = design @ np.linalg.lstsq(design, counts, rcond=None)[0]
            return 1 - ((counts - fit) ** 2).sum() / ((counts - counts.mean(axis=0)) ** 2).sum()

        direction = trials.columns["direction"]
        assert explained(direction) > 2 * explained(rng.permutation(direction))


def test_areas_differ_only_on_request(tmp_path):
    def rates(areas):
        settings = SimulateSettings("x", seconds=60.0, areas=areas, states=False, reaches=False)
        rng = np.random.default_rng(0)
        network = make_network(settings, rng)
        trains = integrate(network, make_session(settings, rng), rng)
        counts = np.array([len(train) for train in trains])
        return counts[network.area_N == 0].mean() / counts[network.area_N == 1].mean()

    assert rates(True) > 1.1
    assert abs(rates(False) - 1.0) < 0.15


def test_same_settings_same_bytes(tmp_path):
    one = simulate_izhikevich(SimulateSettings(str(tmp_path / "one"), **SMALL))
    two = simulate_izhikevich(SimulateSettings(str(tmp_path / "two"), **SMALL))
    other = simulate_izhikevich(SimulateSettings(str(tmp_path / "three"), seed=1, **SMALL))
    assert [digest_of(str(p)) for p in one] == [digest_of(str(p)) for p in two]
    assert len({digest_of(str(p)) for p in [*one, *other]}) == 4
    assert listing(one).splitlines() == [str(p) for p in one]
    # A network does not depend on how many there are.
    first = simulate_izhikevich(SimulateSettings(str(tmp_path / "four"), **(SMALL | {"networks": 1})))
    assert digest_of(str(first[0])) == digest_of(str(one[0]))


def test_files_are_valid_nwb(paths):
    import pynwb

    assert [pynwb.validate(path=str(path)) for path in paths] == [[], []]


def test_files_hold_exact_milliseconds(recordings):
    times = recordings[0].spikes.times
    assert np.array_equal(np.rint(times * 1000) / 1000, times)
    assert recordings[0].quality == {}
    assert recordings[0].subject.id == "net01"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("output", " "), ("networks", 0), ("neurons", 15), ("neurons", 0), ("seconds", 0.5), ("jitter", -0.1),
        ("jitter", 0.6), ("drive_shift", 4.0), ("synapses", -1), ("synapses", 50), ("coupling", float("nan")),
        ("wake", 0.0), ("rem", float("inf")), ("name", "a/b"), ("name", ""), ("seed", -1),
    ],
)  # fmt: skip
def test_invalid_settings(key, value):
    with pytest.raises(ConfigError, match=f"^{key} is {value!r}: "):
        SimulateSettings(**({"output": "x"} | {key: value}))


def test_folder_of_other_recordings_is_left_alone(tmp_path):
    (tmp_path / "mine.nwb").write_text("mine")
    with pytest.raises(ConfigError, match=r"mine\.nwb"):
        simulate_izhikevich(SimulateSettings(str(tmp_path), **SMALL))
    assert [p.name for p in tmp_path.iterdir()] == ["mine.nwb"]
    with pytest.raises(ConfigError, match="which is a file"):
        simulate_izhikevich(SimulateSettings(str(tmp_path / "mine.nwb"), **SMALL))
