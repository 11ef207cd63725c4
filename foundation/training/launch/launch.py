"""Starts the processes of a run with DeepSpeed's launcher, here or by ssh, and restarts failed runs."""

from __future__ import annotations

import logging
import os
import shlex
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import torch
import yaml

from foundation.common.credentials import holds_secret
from foundation.common.errors import ConfigError, FoundationError, RequeueError
from foundation.common.extensions.search_folders import inherited
from foundation.common.files.locks import write_whole
from foundation.common.processes.cores import usable_cores
from foundation.common.processes.environment import SAFE_PATH
from foundation.training.checkpoint.resuming import checkpoints_of, clear
from foundation.training.distributed.engine import ALONE
from foundation.training.distributed.rendezvous import free_port
from foundation.training.launch.hosts import (
    check_here,
    check_hosts,
    environment_lines,
    is_secret,
    stop_command,
    write_hostfile,
)
from foundation.training.launch.stop_signals import ask_to_stop, training_stops
from foundation.training.output.run_folder import RunFolder
from foundation.training.pretrain_settings import PretrainSettings, host_list

log = logging.getLogger(__name__)
PLACED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT", ALONE)
ASK_EVERY = 1.0  # seconds
TRACKING = "MLFLOW_TRACKING_URI"
PRINTED = ("MLFLOW", "MV2", "NCCL", "PYTHON", "UCX")  # variables that DeepSpeed passes on and prints


def launch_with_restarts(settings: PretrainSettings, pause: float = 5.0) -> None:
    """Launch a run, and restart it after a failure from its newest intact checkpoint, at most ``restarts`` times.

    Invalid settings and requests to stop end it at once.

    ``resume: never`` removes earlier checkpoints once, before the first start; every restart resumes.

    Args:
        settings: settings of the run.
        pause: seconds before the first restart; each further pause is twice as long, up to five minutes.

    Raises:
        FoundationError: the last failure; at once if another run writes to the output, or to a place of checkpoints
    that must be cleared.
    """
    if settings.resume == "never":
        settings = _cleared(settings)
    for attempt in range(settings.restarts + 1):
        try:
            return launch(settings, attempt)
        except (ConfigError, RequeueError):
            raise
        except FoundationError as error:
            if attempt == settings.restarts:
                raise
            wait = min(300.0, pause * 2**attempt)
            log.warning("%s", error)
            log.warning("restart %d of %d in %g s", attempt + 1, settings.restarts, wait)
            time.sleep(wait)


def _cleared(settings: PretrainSettings) -> PretrainSettings:
    check_here(settings)  # before an earlier run's files are removed
    folder, place = RunFolder(settings.output), checkpoints_of(settings)
    with folder.held(), place.held(str(folder.path)):
        clear(folder, place)
    return replace(settings, resume="auto")


def launch_command(settings: PretrainSettings, config: Path, attempt: int = 0) -> list[str]:
    """Return the ``deepspeed`` command of a run with settings in a file.

    Args:
        settings: settings of the run. With ``hosts`` the command names the hostfile beside ``config``.
        config: file of the settings.
        attempt: number of earlier starts; several machines use another rendezvous port each time.

    Example:
        >>> settings = PretrainSettings(store="s", output="o", processes=2)
        >>> " ".join(launch_command(settings, Path("o/launch.yaml"))[-4:])
        '--module foundation.training --config o/launch.yaml'
        >>> settings = PretrainSettings(store="s", output="o", processes=2, hosts="a,b")
        >>> " ".join(launch_command(settings, Path("o/launch.yaml"))[:5])
        'deepspeed --hostfile o/hostfile --master_port 29500'
    """
    command = ["deepspeed"]
    if settings.hosts:
        launching = settings.launching
        command += ["--hostfile", str(config.with_name("hostfile")), "--master_port", str(launching.port + attempt)]
        command += ["--master_addr", launching.address] if launching.address else []
        command += ["--ssh_port", str(launching.ssh_port)] if launching.ssh_port else []
        command += ["--force_multi"] if len(host_list(settings.hosts)) == 1 else []
    else:
        kind = "--num_gpus" if torch.cuda.is_available() else "--num_accelerators"
        command += [kind, str(settings.processes), "--master_port", str(free_port())]
    return [*command, "--module", "foundation.training", "--config", str(config)]


def launch(settings: PretrainSettings, attempt: int = 0) -> None:
    """Write the settings, print the command, run it and wait. SIGTERM and SIGUSR1 are passed to the training processes.

    Args:
        settings: settings of the run.
        attempt: number of earlier starts.

    Raises:
        ConfigError: if there are fewer GPUs than processes.
        RequeueError: if the run was asked to stop; its state is saved.
        FoundationError: if a machine cannot be reached or a process ends with an error; the message names the exit
            status.
    """
    check_here(settings)
    output = Path(settings.output).absolute() if settings.hosts else Path(settings.output)
    output.mkdir(parents=True, exist_ok=True)
    config = output / "launch.yaml"
    write_config(settings, config)
    environment = launch_environment(settings, output)
    if settings.hosts:
        check_hosts(settings, config)
        write_hostfile(settings, output / "hostfile")
    command = launch_command(settings, config, attempt)
    log.info("%s", shlex.join(command))
    # The launcher's module instead of its script, which needs the environment's bin folder on PATH.
    started = [sys.executable, "-m", "deepspeed.launcher.runner", *command[1:]]
    folder = RunFolder(output)
    trained_before = folder.finished.is_file() and settings.resume != "never"
    with training_stops() as stops, subprocess.Popen(started, env=environment) as process:
        passed_on, again = False, 0.0
        while process.poll() is None:
            if stops.asked and not passed_on and time.monotonic() >= again:
                if not again:
                    log.info("%s: asking the training processes to save and stop", stops.asked)
                if settings.hosts:
                    passed_on = (
                        subprocess.run(stop_command(settings, config), env=environment, check=False).returncode == 0
                    )
                else:
                    passed_on = ask_to_stop(process.pid)
                again = time.monotonic() + ASK_EVERY  # they may not have started yet
            time.sleep(0.05)
    status = process.returncode
    # DeepSpeed's runner exits with 0 when a signal ends its processes.
    if status == 0 and (trained_before or folder.finished.is_file()):
        return
    if status == RequeueError.status or stops.asked:
        raise RequeueError("stopped before the end; the state is saved, run the same command again to resume")
    where = f" on each of {settings.hosts}" if settings.hosts else ""
    raise (ConfigError if status == 2 else FoundationError)(
        f"pretraining on {settings.processes} processes{where} ended with status {status}: see the lines "
        f"above; run the same command again to resume from the last checkpoint in {output}"
    )


def write_config(settings: PretrainSettings, path: Path) -> None:
    """Write the file of settings for all processes.

    It includes a $MLFLOW_TRACKING_URI with a password if the environment does not carry it to the processes.
    """
    uri = os.environ.get(TRACKING, "")
    if settings.hosts and settings.tracking_uri is None and is_secret(TRACKING, uri):
        settings = replace(settings, tracking_uri=uri)
    text = yaml.safe_dump(asdict(settings), sort_keys=False)
    if holds_secret(asdict(settings)):  # the processes need the full URLs, and run as the file's owner
        write_whole(path, f"# Holds a name or a password: only its owner can read it.\n{text}", private=True)
    else:
        write_whole(path, text)


def launch_environment(settings: PretrainSettings, output: Path) -> dict[str, str]:
    """Return the environment of the launcher, and write the part for other machines to ``launch.env`` in ``output``.

    DeepSpeed passes some variables on in a command line that it prints. MLFLOW's secrets and URLs with a password are
    left out, so each machine must have its own.
    """
    environment = {name: value for name, value in os.environ.items() if name not in PLACED}
    if not torch.cuda.is_available():
        share = max(1, usable_cores() // settings.processes)
        environment.setdefault("OMP_NUM_THREADS", str(share))
    environment[SAFE_PATH] = "1"
    environment.update(inherited())
    if settings.hosts:
        environment = {
            name: value
            for name, value in environment.items()
            if not (name.startswith("MLFLOW") and is_secret(name, value))
            and not (name.startswith(PRINTED) and holds_secret(value))
        }
        # Keep-alive messages; without them the launcher would wait forever for a machine that has vanished.
        given = environment.get("PDSH_SSH_ARGS_APPEND", "")
        environment["PDSH_SSH_ARGS_APPEND"] = f"{given} -o ServerAliveInterval=15 -o ServerAliveCountMax=4".strip()
        name = environment.get("DS_ENV_FILE", ".deepspeed_env")
        own = [Path.home() / name, Path(name)]
        environment["DS_ENV_FILE"] = str(output / "launch.env")
        # DeepSpeed puts the working folder first on PYTHONPATH; a line of this file overrides that.
        lines = [f"PYTHONPATH={environment.get('PYTHONPATH', '')}", *environment_lines(environment, own)]
        # Only the launcher on this machine reads the file, and the user's lines may be secrets.
        write_whole(output / "launch.env", "".join(line + "\n" for line in lines), private=True)
    return environment
