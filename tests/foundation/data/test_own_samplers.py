"""Your own samplers: choice of recordings and of times of windows."""

from dataclasses import dataclass

import numpy as np
import pytest

from foundation.common.errors import ConfigError, StoreError
from foundation.data import DataSettings, StepPlan, ViewSpec
from foundation.store import Catalog, Interval, Store


@dataclass(frozen=True)
class Settings:
    subject: str = "mouse1"


class Chosen(StepPlan):
    settings_class = Settings

    def chances(self, chance_R):
        return np.array([subject.endswith(self.own.subject) for subject in self.records.texts("subject")], dtype=float)

    def times(self, recording, observed):
        return observed.slice(10.0, 20.0)


def plan(kind, store, own=None):
    settings = DataSettings(bin_widths=[0.05], tokens_per_step=1024, min_windows=4, max_units=12)
    return kind(Catalog.open(Store(store)), settings, ViewSpec(2, 4, 8), bins_per_token=4, seed=0, own=own)


def test_windows_come_from_the_chosen_recordings_and_times(small_store):
    made = plan(Chosen, small_store, Settings("mouse2"))
    wanted = {row.id for row in made.records if str(row.subject).endswith("mouse2")}
    windows = [window for step in range(3) for window in made(step)]
    assert {window.recording for window in windows} == wanted
    assert all(v.start >= 10 and v.start + v.n_bins * 0.05 <= 20 + 1e-6 for w in windows for v in w.views)


@pytest.mark.parametrize(
    ("chances", "error", "message"),
    [
        (lambda self, c: c[:-1], ConfigError, "expected 4 finite numbers of 0 or more"),
        (lambda self, c: -c, ConfigError, "chances of Bad gave"),
        (lambda self, c: c / 0 * 0, ConfigError, "chances of Bad gave"),
        (lambda self, c: {}["a"], ConfigError, r"chances of Bad fails: KeyError: 'a' \(.*test_own_samplers.py:\d+\)"),
        (lambda self, c: c * 0, StoreError, "none of the 4 recordings"),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_invalid_chances_are_refused(small_store, chances, error, message):
    with pytest.raises(error, match=message):
        plan(type("Bad", (StepPlan,), {"chances": chances}), small_store)


def test_invalid_times_are_refused(small_store):
    for times, message in (
        (lambda self, recording, observed: [0, 1], r"times of Bad gave \[0, 1\]: expected a foundation"),
        (lambda self, recording, observed: {}["a"], "times of Bad fails for sub-"),
    ):
        with pytest.raises(ConfigError, match=message):
            plan(type("Bad", (StepPlan,), {"times": times}), small_store)(0)


def test_empty_times_mean_all_observed_time(small_store):
    none = type("None_", (StepPlan,), {"times": lambda self, recording, observed: Interval([], [])})
    assert len(plan(none, small_store)(0)) == len(plan(StepPlan, small_store)(0))
