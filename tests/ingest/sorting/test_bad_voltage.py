"""Voltage that cannot be sorted, or only in part: a clear result or a clear error."""

from dataclasses import replace

import numpy as np
import pytest
from known_voltage import make_voltage, pair_up

from foundation.common.errors import ConfigError, SourceError
from ingest.sorting.clustering import ClusterSettings
from ingest.sorting.sort_settings import DetectionSettings, FilterSettings, SortSettings
from ingest.sorting.sorting_run import sort_voltage
from ingest.sorting.voltage.voltage import ArrayVoltage, Scale

PCA = SortSettings(recipe="pca", clustering=ClusterSettings(max_units=6))


def test_no_spikes_give_no_units():
    noise = np.random.default_rng(0).normal(0, 10, (100_000, 1)).astype(np.float32)
    sorting = sort_voltage(ArrayVoltage(noise, 20_000.0), replace(PCA, detection=DetectionSettings(threshold=20.0)))
    assert (sorting.n_units, len(sorting)) == (0, 0)
    assert any("no unit found" in note for note in sorting.notes)


def test_noise_alone_gives_no_units():
    noise = np.random.default_rng(0).normal(0, 10, (600_000, 1)).astype(np.float32)
    assert sort_voltage(ArrayVoltage(noise, 20_000.0), PCA).n_units == 0


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda x: np.where(np.arange(4) == 2, 7.0, x), "1 channel (2) constant"),
        (lambda x: np.where(np.arange(4) == 2, np.clip(30 * x, -300, 300), x), "1 channel (2) saturated"),
        (lambda x: np.where(np.arange(4) == 2, np.nan, x), "1 channel (2) without any number"),
    ],
    ids=["constant", "saturated", "nan"],
)
def test_unusable_channel_is_left_out_and_named(tetrode, spoil, words):
    made = replace(tetrode, x_TC=spoil(tetrode.x_TC).astype(np.float32))
    sorting = sort_voltage(made.voltage, PCA)
    assert any(words in note for note in sorting.notes), sorting.notes
    assert 2 not in sorting.channel_U
    assert sum(recall > 0.9 for _, recall, _ in pair_up(sorting, made)) >= 3


@pytest.mark.parametrize("value", [3.0, np.nan])
def test_voltage_without_signal_is_rejected(value):
    flat = np.full((50_000, 2), value, dtype=np.float32)
    with pytest.raises(SourceError, match="no channel can be sorted: 2 channels"):
        sort_voltage(ArrayVoltage(flat, 20_000.0), PCA)


def test_missing_samples_give_no_spikes(single):
    x_TC = single.x_TC.copy()
    x_TC[100_000:120_000] = np.nan
    x_TC[200_000:200_003] = np.nan
    sorting = sort_voltage(replace(single, x_TC=x_TC).voltage, PCA)
    assert not ((sorting.time_N > 5.0) & (sorting.time_N < 6.0)).any()
    assert any("are not a number" in note for note in sorting.notes)
    assert all(recall > 0.85 and precision > 0.98 for _, recall, precision in pair_up(sorting, single))


@pytest.mark.parametrize("rate", [0.0, -1.0, 30.0, float("nan"), 1e9])
def test_invalid_sampling_rate_is_rejected(rate):
    with pytest.raises(SourceError, match="sampling rate is"):
        ArrayVoltage(np.zeros((10, 1)), rate)


def test_sampling_rate_too_low_for_the_band_is_rejected():
    with pytest.raises(SourceError, match=r"sampling rate is 1000 Hz: expected more than 1111.11 Hz"):
        sort_voltage(ArrayVoltage(np.ones((5000, 1)), 1000.0), replace(PCA, filter=FilterSettings(low=500.0)))


def test_single_unit_stays_one_unit():
    made = make_voltage(5, sizes=[[120.0]])
    sorting = sort_voltage(made.voltage, PCA)
    assert sorting.n_units == 1
    assert pair_up(sorting, made)[0][1] > 0.98


def test_integers_with_gain_and_offset_give_the_same_voltage(single):
    plain, scaled = sort_voltage(single.voltage, PCA), sort_voltage(single.as_int16(0.195, -300.0), PCA)
    assert plain.n_units == scaled.n_units == 3
    assert abs(len(plain) - len(scaled)) <= 3
    assert np.sort(scaled.quality()["amplitude_median"]) == pytest.approx(
        np.sort(plain.quality()["amplitude_median"]), rel=0.01
    )


def test_zero_gain_is_rejected():
    with pytest.raises(SourceError, match="gain is 0"):
        Scale(0.0)


def test_only_a_sample_of_very_many_spikes_is_clustered(monkeypatch):
    made = make_voltage(6, seconds=30.0, sizes=[[150.0], [90.0]], firing=60.0)
    sizes = []
    from ingest.sorting import sorting_run

    real = sorting_run.cluster_waveforms

    def counted(waveforms, **options):
        sizes.append(len(waveforms))
        return real(waveforms, **options)

    monkeypatch.setattr(sorting_run, "cluster_waveforms", counted)
    sorting = sort_voltage(made.voltage, replace(PCA, max_spikes=300))
    assert sizes[0] <= 300
    assert len(sorting) > 2500
    assert all(recall > 0.9 for _, recall, _ in pair_up(sorting, made))


def test_band_with_limits_in_the_wrong_order_is_rejected():
    with pytest.raises(ConfigError, match="expected low below high"):
        FilterSettings(low=6000.0, high=300.0)
