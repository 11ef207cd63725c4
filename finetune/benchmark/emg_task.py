"""EMG of all muscles at once, as FALCON M1 files hold it: a series for each muscle, beside the mask of scored times."""

from __future__ import annotations

import numpy as np

from finetune.tasks.labels.time_series import value_at
from finetune.tasks.own_task import TimeTask
from foundation.store import StoredRecording

MASK = "eval_mask"


class EMGTask(TimeTask):
    """Predict the EMG of every muscle in bins of 20 ms, from the population."""

    name, title = "emg", "EMG of the muscles"
    token = 0.02

    def at(self, recording: StoredRecording, time_T: np.ndarray) -> np.ndarray | None:
        """Return the EMG of each muscle at each time, NaN where it was not recorded.

        Args:
            recording: one of the store.
            time_T: ``(T,)`` seconds.

        Returns:
            ``(T, K)`` values of the K muscles in the order of their names; None if there are no such series.
        """
        muscles = sorted(name for name in recording.behavior if name != MASK)
        if not muscles:
            return None
        return np.concatenate([value_at(recording.behavior[name], time_T) for name in muscles], axis=1)
