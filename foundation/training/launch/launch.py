"""Starts the processes of a run with DeepSpeed's launcher, here or by ssh, and starts a failed run again."""

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
PRINTED = ("MLFLOW", "MV2", "NCCL", "PYTHON", "UCX")  # what DeepSpeed passes on by itself


def launch_with_restarts(settings: PretrainSettings, pause: float = 5.0) -> None:
    """Launch a run, and after a failure start it again from its newest intact checkpoint, at most ``restarts`` times.

    Impossible settings and a run that was asked to stop end it at once.

    ``resume: never`` removes earlier checkpoints here, once, before the first start. Every restart then resumes,
    however early the start before it failed.

    Args:
        settings: of the run.
        pause: seconds before the first restart; each further pause is twice as long, up to five minutes.

    Raises:
        FoundationError: the last failure; at once if another run is writing to the output or to the place of
            checkpoints that must be cleared.
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
    check_here(settings)  # a run that cannot be started here costs no other one
    folder, place = RunFolder(settings.output), checkpoints_of(settings)
    with folder.held(), place.held(str(folder.path)):
        clear(folder, place)
    return replace(settings, resume="auto")


def launch_command(settings: PretrainSettings, config: Path, attempt: int = 0) -> list[str]:
    """The arguments of the ``deepspeed`` command for a run whose settings are in a file.

    Args:
        settings: of the run. With ``hosts`` the command names the hostfile beside ``config``.
        config: the file.
        attempt: how often the run was started before; several machines meet at another port each time.

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
    """Write the settings, print the command, run it and wait. SIGTERM and SIGUSR1 go on to the training processes.

    Args:
        settings: of the run.
        attempt: how often it was started before.

    Raises:
        ConfigError: if there are fewer GPUs than processes.
        RequeueError: if the run was told to stop; it has saved its state.
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
    # The launcher's module instead of its script: found also where the environment's bin folder is not on PATH.
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
                again = time.monotonic() + ASK_EVERY  # they may not be there yet
            time.sleep(0.05)
    status = process.returncode
    # DeepSpeed's runner ends with 0 when a signal ends what it has started.
    if status == 0 and (trained_before or folder.finished.is_file()):
        return
    if status == RequeueError.status or stops.asked:
        raise RequeueError("stopped before the end; what was done is saved, and the same command goes on from there")
    where = f" on each of {settings.hosts}" if settings.hosts else ""
    raise (ConfigError if status == 2 else FoundationError)(
        f"pretraining on {settings.processes} processes{where} ended with status {status}: what went wrong is in "
        f"the lines above; the same command goes on from the last checkpoint in {output}"
    )


def write_config(settings: PretrainSettings, path: Path) -> None:
    """The file from which all processes take their settings.

    What stands in $MLFLOW_TRACKING_URI with a password comes in too where the environment does not take it to them.
    """
    uri = os.environ.get(TRACKING, "")
    if settings.hosts and settings.tracking_uri is None and is_secret(TRACKING, uri):
        settings = replace(settings, tracking_uri=uri)
    text = yaml.safe_dump(asdict(settings), sort_keys=False)
    if holds_secret(asdict(settings)):  # the processes need the whole URLs, and run as the owner of the file
        write_whole(path, f"# Holds a name or a password: its owner alone can read it.\n{text}", private=True)
    else:
        write_whole(path, text)


def launch_environment(settings: PretrainSettings, output: Path) -> dict[str, str]:
    """The environment of the launcher. What other machines are to know of it is written to ``launch.env`` in a folder.

    DeepSpeed passes some variables on in a command line that it prints. Secrets among MLFLOW's are left out, and each
    machine must have its own; so are values of any that are URLs with a password.
    """
    environment = {name: value for name, value in os.environ.items() if name not in PLACED}
    if not torch.cuda.is_available():
        share = max(1, (os.cpu_count() or 1) // settings.processes)
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
        # An ssh that asks: without it the launcher would wait for ever for a machine that has vanished.
        given = environment.get("PDSH_SSH_ARGS_APPEND", "")
        environment["PDSH_SSH_ARGS_APPEND"] = f"{given} -o ServerAliveInterval=15 -o ServerAliveCountMax=4".strip()
        name = environment.get("DS_ENV_FILE", ".deepspeed_env")
        own = [Path.home() / name, Path(name)]
        environment["DS_ENV_FILE"] = str(output / "launch.env")
        # DeepSpeed puts the working folder first on PYTHONPATH; a line of this file counts more.
        lines = [f"PYTHONPATH={environment.get('PYTHONPATH', '')}", *environment_lines(environment, own)]
        # The launcher on this machine alone reads it, and the user's own lines may be secrets.
        write_whole(output / "launch.env", "".join(line + "\n" for line in lines), private=True)
    return environment
