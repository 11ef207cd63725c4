"""Several processes on this machine, by DeepSpeed's own launcher."""

from __future__ import annotations

import logging
import os
import shlex
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import torch
import yaml

from foundation.errors import FoundationError, RequeueError
from foundation.training.engine import ALONE, free_port
from foundation.training.lineage import ask_to_stop
from foundation.training.run_folder import RunFolder
from foundation.training.settings import PretrainSettings
from foundation.training.signals import StopSignals

log = logging.getLogger(__name__)


def launch_command(settings: PretrainSettings, config: Path) -> list[str]:
    """The arguments of the ``deepspeed`` command for a run whose settings are in a file.

    Example:
        >>> settings = PretrainSettings(store="s", output="o", processes=2)
        >>> " ".join(launch_command(settings, Path("o/launch.yaml"))[-4:])
        '--module foundation.training --config o/launch.yaml'
    """
    kind = "--num_gpus" if torch.cuda.is_available() else "--num_accelerators"
    count = str(settings.processes)
    port = str(free_port())
    return ["deepspeed", kind, count, "--master_port", port, "--module", "foundation.training", "--config", str(config)]


def launch(settings: PretrainSettings) -> None:
    """Write the settings, print the command, run it and wait. SIGTERM and SIGUSR1 go on to the training processes.

    Raises:
        RequeueError: if the run was told to stop; it has saved its state.
        FoundationError: if a process ends with an error; the message names the exit status.
    """
    output = Path(settings.output)
    output.mkdir(parents=True, exist_ok=True)
    config = output / "launch.yaml"
    config.write_text(yaml.safe_dump(asdict(settings), sort_keys=False))
    command = launch_command(settings, config)
    placed = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT", ALONE)
    environment = {name: value for name, value in os.environ.items() if name not in placed}
    if not torch.cuda.is_available():
        share = max(1, (os.cpu_count() or 1) // settings.processes)
        environment.setdefault("OMP_NUM_THREADS", str(share))
    log.info("%s", shlex.join(command))
    # The launcher's module instead of its script: found also where the environment's bin folder is not on PATH.
    started = [sys.executable, "-m", "deepspeed.launcher.runner", *command[1:]]
    folder = RunFolder(output)
    trained_before = folder.finished.is_file() and settings.resume != "never"
    with StopSignals() as signals, subprocess.Popen(started, env=environment) as process:
        passed_on = False
        while process.poll() is None:
            if signals.asked and not passed_on:
                log.info("%s: asking the training processes to save and stop", signals.asked)
                ask_to_stop(process.pid)
                passed_on = True
            time.sleep(0.05)
    status = process.returncode
    if status == RequeueError.status:
        raise RequeueError("stopped before the end; what was done is saved, and the same command goes on from there")
    # DeepSpeed's runner ends with 0 when a signal ends what it has started.
    if status or not (trained_before or folder.finished.is_file()):
        raise FoundationError(
            f"pretraining on {settings.processes} processes ended with status {status}: what went wrong is in the "
            f"lines above; the same command goes on from the last checkpoint in {output}"
        )
