"""A complete sorting: known spikes are found, chunk length does not matter, a killed run resumes."""

from dataclasses import replace

import numpy as np
import pytest
from known_voltage import make_voltage, pair_up

from ingest.sorting.chunk_work import ChunkWork
from ingest.sorting.clustering import ClusterSettings
from ingest.sorting.sort_settings import MatchingSettings, SortSettings
from ingest.sorting.sorting_run import sort_voltage

PCA = SortSettings(recipe="pca", clustering=ClusterSettings(max_units=6))


def same(one, other) -> bool:
    return all(
        np.array_equal(getattr(one, name), getattr(other, name))
        for name in ("time_N", "unit_N", "amplitude_N", "channel_U", "templates_UCT")
    )


def test_units_of_one_electrode_are_found(single):
    sorting = sort_voltage(single.voltage, PCA)
    assert sorting.n_units == 3
    for unit, recall, precision in pair_up(sorting, single):
        assert recall > 0.95
        assert precision > 0.98
        assert sorting.quality()["isi_violations"][unit] == 0.0


def test_units_of_a_tetrode_are_found_on_their_channels(sorted_tetrode, tetrode):
    pairs = pair_up(sorted_tetrode, tetrode)
    assert sorted_tetrode.n_units == 4
    assert all(recall > 0.97 and precision > 0.98 for _, recall, precision in pairs)
    assert [int(sorted_tetrode.channel_U[unit]) for unit, _, _ in pairs] == [0, 1, 3, 3]


def test_templates_are_the_waveforms_in_microvolts(sorted_tetrode, tetrode):
    unit = pair_up(sorted_tetrode, tetrode)[0][0]
    peak_C = sorted_tetrode.templates_UCT[unit][:, sorted_tetrode.peak]
    # The band-pass lowers the peak by the same factor on all channels.
    assert -150 < peak_C[0] < -100
    assert peak_C / peak_C[0] == pytest.approx([1, 0.6, 0.2, 20 / 150], abs=0.03)


def test_chunks_of_any_length_give_the_same_spikes(sorted_tetrode, tetrode):
    for chunk in (1, 3):
        assert same(sort_voltage(tetrode.voltage, replace(PCA, chunk=chunk)), sorted_tetrode)


def test_killed_sorting_resumes(sorted_tetrode, tetrode, tmp_path, monkeypatch):
    settings = replace(PCA, chunk=5)
    done = []
    real = ChunkWork.match

    def dies_at_third(self, chunk, *rest):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(chunk.number)
        return real(self, chunk, *rest)

    monkeypatch.setattr(ChunkWork, "match", dies_at_third)
    with pytest.raises(KeyboardInterrupt):
        sort_voltage(tetrode.voltage, settings, tmp_path / "work")
    again = []

    def counted(self, chunk, *rest):
        again.append(chunk.number)
        return real(self, chunk, *rest)

    monkeypatch.setattr(ChunkWork, "match", counted)
    monkeypatch.setattr(ChunkWork, "detect", lambda *_: pytest.fail("a chunk was searched again"))
    assert same(sort_voltage(tetrode.voltage, settings, tmp_path / "work"), sorted_tetrode)
    assert again == [2, 3]


def test_other_settings_start_over(single, tmp_path):
    one = sort_voltage(single.voltage, PCA, tmp_path / "work")
    none = sort_voltage(single.voltage, replace(PCA, matching=MatchingSettings(min_spikes=100_000)), tmp_path / "work")
    assert one.n_units == 3
    assert none.n_units == 0
    assert "fewer than 100000 spikes" in " ".join(none.notes)


def test_unit_in_two_neighbourhoods_is_merged(probe):
    settings = replace(PCA, clustering=ClusterSettings(max_units=3))
    work = ChunkWork(probe.voltage, settings)
    assert len(work.places) > 6
    sorting = sort_voltage(probe.voltage, settings)
    pairs = pair_up(sorting, probe)
    assert sorting.n_units == 8
    assert all(recall > 0.97 and precision > 0.98 for _, recall, precision in pairs)


def test_overlapping_spikes_are_separated():
    made = make_voltage(3, n_channels=1, sizes=[[150.0], [110.0]], firing=40.0)
    first, second = (train / made.rate for train in made.trains)
    apart = np.abs(first[:, None] - second[None]).min(axis=1)
    hidden = first[(apart > 0.0002) & (apart < 0.0009)]
    assert len(hidden) > 20

    def share(sorting) -> float:
        unit = pair_up(sorting, made)[0][0]
        train = sorting.train(unit)
        return float(np.mean([np.abs(train - t).min() < 0.0003 for t in hidden]))

    plain = share(sort_voltage(made.voltage, replace(PCA, matching=MatchingSettings(overlaps=False))))
    matched = share(sort_voltage(made.voltage, PCA))
    assert matched > 0.85
    assert matched > plain


def test_drifting_amplitudes_are_followed():
    steady = make_voltage(4, seconds=40.0, sizes=[[140.0]], noise=0.0, firing=6.0)
    fading = np.linspace(1.0, 0.45, len(steady.x_TC))[:, None]
    noise = np.random.default_rng(0).normal(0, 10.0, steady.x_TC.shape)
    made = replace(steady, x_TC=(steady.x_TC * fading + noise).astype(np.float32))
    sorting = sort_voltage(made.voltage, replace(PCA, matching=MatchingSettings(drift=8.0)))
    (unit, recall, _), = pair_up(sorting, made)  # fmt: skip
    amplitude = sorting.amplitude_N[sorting.unit_N == unit]
    assert sorting.n_units == 1
    assert recall > 0.97
    assert np.median(amplitude[-30:]) / np.median(amplitude[:30]) == pytest.approx(0.5, abs=0.06)


def test_long_probe_with_constant_firing_has_background_on_every_channel():
    row = np.arange(48) // 2
    positions_C2 = np.stack([20.0 * (np.arange(48) % 2), 40.0 * row], axis=1)
    centres = np.stack([np.full(16, 10.0), np.linspace(10, 910, 16)], axis=1)
    away = np.hypot(*(positions_C2[None] - centres[:, None]).transpose(2, 0, 1))
    sizes = 120.0 * np.exp(-((away / 30.0) ** 2))
    made = make_voltage(9, seconds=6.0, n_channels=48, sizes=sizes, positions_C2=positions_C2, firing=80.0)
    work = ChunkWork(made.voltage, PCA)
    _, backgrounds = work.background()
    assert min(map(len, backgrounds)) >= 200
    # Background windows have the amplitude of the noise and no spike.
    for place, windows_SCL in zip(work.places, backgrounds, strict=True):
        scaled = windows_SCL / work.clean.noise_C[place.channels][:, None]
        assert scaled.std() == pytest.approx(1.0, abs=0.1)
        assert np.abs(scaled).max() < 7.0
