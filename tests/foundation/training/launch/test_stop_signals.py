"""Signals that ask a run to save and stop."""

import os
import signal
import subprocess
import sys

import psutil
import pytest

from foundation.training.launch.stop_signals import training_stops


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP])
def test_each_signal_asks_the_run_to_stop(number):
    with training_stops() as stops:
        os.kill(os.getpid(), number)
        assert stops.asked == signal.Signals(number).name
        os.kill(os.getpid(), signal.SIGTERM)
        assert stops.asked == signal.Signals(number).name  # the first signal counts


def test_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as under nohup
    try:
        with training_stops() as stops:
            os.kill(os.getpid(), signal.SIGHUP)
            assert stops.asked == ""
    finally:
        signal.signal(signal.SIGHUP, before)


RUN = "import subprocess, sys; subprocess.run(sys.argv[2:])"
WATCH = """
import time
from foundation.training.launch.stop_signals import training_stops
with training_stops(launched=True) as stops:
    print("watching", flush=True)
    while not stops.asked:
        time.sleep(0.05)
    print(stops.asked, flush=True)
"""


@pytest.mark.parametrize("killed", ["foundation", "deepspeed.launcher.launch"])
def test_end_of_a_launcher_asks_a_launched_process_to_stop(killed):
    """Replacements for the command and DeepSpeed's launcher, recognised by name, above the real check."""
    command = [sys.executable, "-c", RUN, "foundation", sys.executable, "-c", RUN, "deepspeed.launcher.launch"]
    with subprocess.Popen([*command, sys.executable, "-c", WATCH], stdout=subprocess.PIPE, text=True) as outer:
        assert outer.stdout.readline() == "watching\n"
        own = psutil.Process(outer.pid)
        next(p for p in [own, *own.children(recursive=True)] if p.cmdline()[3] == killed).kill()
        assert outer.stdout.readline() == "the end of its launcher\n"
