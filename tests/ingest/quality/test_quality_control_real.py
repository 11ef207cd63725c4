"""Quality control of the real recordings, compared with figures computed from the files independently."""

import numpy as np
import pytest

from ingest.nwb.read_nwb import read_nwb

pytestmark = pytest.mark.real_data


def test_figures_of_a_real_population(real_data):
    recording = read_nwb(str(real_data / "nwb" / "head-direction/sub-A2929/sub-A2929_ses-200711_ecephys.nwb"))
    seconds = recording.domain.duration
    assert recording.n_units == 15
    for n in range(15):
        train = recording.spikes.train(n)
        train = train[recording.domain.contains(train)]
        assert recording.units["qc_rate"][n] == pytest.approx(len(train) / seconds)
        bins = np.histogram(train, np.linspace(recording.domain.start[0], recording.domain.end[-1], 21))[0]
        assert recording.units["qc_presence_ratio"][n] == np.mean(bins > 0)
        isi = np.diff(np.unique(train))
        assert recording.units["qc_isi_violations"][n] == pytest.approx(np.mean(isi < 0.0015 - 1e-9))
        assert 0 <= recording.units["qc_contamination"][n] <= 1
    assert recording.control["counts"]["units_dropped"] == 0


def test_binned_counts_as_spikes_have_hardly_any_violations(real_data):
    recording = read_nwb(str(real_data / "nwb" / "reach/sub-Chewie/sub-Chewie_ses-20131003_ecephys.nwb"))
    assert np.isnan(recording.units["qc_isi_violations"]).all()
    assert np.isfinite(recording.units["qc_rate"]).all()
    assert recording.control["counts"]["gaps"] == 158  # between 159 trials
    assert recording.control["counts"]["clock_jumps"] == 0  # pauses between trials were not observed


def test_figures_of_sampled_counts(real_data):
    recording = read_nwb(str(real_data / "nwb" / "sleep/sub-mouse/sub-mouse_ses-CA1-12h_ecephys.nwb"))
    rates = recording.activity.data.astype(float).sum(axis=0) / (len(recording.activity) * 4.0)
    np.testing.assert_allclose(recording.units["qc_rate"], rates)
    assert recording.control["silences"] is None
