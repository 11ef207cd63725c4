"""Signals that ask a run to save and stop."""

import os
import signal

import pytest

from foundation.training.launch.stop_signals import training_stops


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP])
def test_each_asks_the_run_to_stop(number):
    with training_stops() as stops:
        os.kill(os.getpid(), number)
        assert stops.asked == signal.Signals(number).name
        os.kill(os.getpid(), signal.SIGTERM)
        assert stops.asked == signal.Signals(number).name  # the first one counts


def test_a_signal_that_is_ignored_stays_so():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as below nohup
    try:
        with training_stops() as stops:
            os.kill(os.getpid(), signal.SIGHUP)
            assert stops.asked == ""
    finally:
        signal.signal(signal.SIGHUP, before)
