"""Each mode's response to a step of current, compared with Izhikevich's published patterns (2003, figure 2)."""

import time

import numpy as np
import pytest

from ingest.simulate import SimulateSettings
from ingest.simulate.simulated_network import MODES, make_network
from ingest.simulate.simulated_session import integrate, make_session


def intervals_of(drive: float, seconds: float = 2.0) -> dict[str, np.ndarray]:
    """Milliseconds between the spikes of one neuron of each mode at a constant current, no noise, no synapses."""
    settings = SimulateSettings(
        "x", neurons=10, seconds=seconds, synapses=0, jitter=0.0, states=False, reaches=False, areas=False
    )
    network = make_network(settings, np.random.default_rng(0))
    session = make_session(settings, np.random.default_rng(0))
    network.noise_N[:] = 0.0
    network.drive_N[:] = drive
    trains = integrate(network, session, np.random.default_rng(0))
    return {MODES[mode]: np.diff(trains[n]) * 1000 for n, mode in enumerate(network.mode_N)}


@pytest.fixture(scope="module")
def at_ten():
    return intervals_of(10.0)


def test_regular_spiking_adapts(at_ten):
    gaps = at_ten["RS"]
    assert gaps[0] < 0.7 * gaps[2:].mean()
    assert 10 < 1000 / gaps[2:].mean() < 30  # spikes a second
    assert gaps.min() > 20


def test_intrinsically_bursting_starts_with_a_burst_and_continues_with_single_spikes(at_ten):
    gaps = at_ten["IB"]
    assert gaps[0] < 6
    assert gaps[1:].min() > 25


def test_chattering_bursts_repeatedly(at_ten):
    gaps = at_ten["CH"]
    short = gaps < 6
    assert 0.5 < short.mean() < 0.9
    assert gaps[~short].min() > 30
    assert (~short).sum() > 25  # bursts in two seconds
    assert not ((gaps > 6) & (gaps < 30)).any()


def test_fast_spiking_is_fastest_and_does_not_adapt(at_ten):
    rate = {mode: 1000 / gaps.mean() for mode, gaps in at_ten.items()}
    assert rate["FS"] == max(rate.values()) > 2 * rate["RS"]
    gaps = at_ten["FS"]
    half = len(gaps) // 2
    assert gaps[:half].mean() == pytest.approx(gaps[half:].mean(), rel=0.05)


def test_low_threshold_spiking_adapts_and_fires_where_others_are_silent(at_ten):
    gaps = at_ten["LTS"]
    assert gaps[:2].mean() < 0.6 * gaps[4:].mean()
    assert 1000 / gaps[4:].mean() > 1.5 * (1000 / at_ten["RS"][4:].mean())
    # b = 0.25 instead of 0.2: at rest, u takes less away.
    weak = {mode: len(gaps) for mode, gaps in intervals_of(1.5).items()}
    assert weak["LTS"] > 10
    assert all(weak[mode] == 0 for mode in ("RS", "IB", "CH", "FS"))


@pytest.mark.long
def test_two_thousand_neurons_for_ten_minutes_take_less_than_a_minute_of_one_core():
    settings = SimulateSettings("x", neurons=2000, seconds=600.0)
    rng = np.random.default_rng(0)
    network, session = make_network(settings, rng), make_session(settings, rng)
    started = time.process_time()
    trains = integrate(network, session, rng)
    assert time.process_time() - started < 60
    assert 5 < sum(map(len, trains)) / 2000 / 600 < 30
