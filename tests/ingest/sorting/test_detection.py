"""A large spike is detected once on a probe."""

import numpy as np

from ingest.sorting.sort_settings import DetectionSettings, FilterSettings, WindowSettings
from ingest.sorting.spikes.detection import make_detector
from ingest.sorting.spikes.filtering import clean_voltage
from ingest.sorting.voltage.voltage import ArrayVoltage, Channels


def test_side_lobe_within_the_radius_is_not_a_second_spike():
    rng = np.random.default_rng(0)
    x_TC = rng.normal(0, 10, (24_000, 32)).astype(np.float32)
    positions_C2 = np.stack([np.arange(32) % 2 * 25.0, np.arange(32) // 2 * 20.0], axis=1)
    channels = Channels(np.arange(32).astype(str), positions_C2, np.full(32, "0"))
    windows = WindowSettings()
    detector = make_detector(
        clean_voltage(ArrayVoltage(x_TC, 24_000.0, channels), FilterSettings(), windows),
        DetectionSettings(sign="negative"),
        windows,
    )
    quiet_TC = np.zeros_like(x_TC)
    quiet_TC[1000, 10], quiet_TC[1003, 18], quiet_TC[1003, 30] = -400.0, -90.0, -90.0
    sample_P, channel_P = detector.find(quiet_TC, np.ones(x_TC.shape, dtype=bool))
    # channel 18 is 80 µm away and not among the 12 nearest; channel 30 is 200 µm away
    assert list(zip(sample_P.tolist(), channel_P.tolist(), strict=True)) == [(1000, 10), (1003, 30)]
