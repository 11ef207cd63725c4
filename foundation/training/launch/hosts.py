"""Several machines reached by ssh: checks before the start, and the environment of their processes."""

from __future__ import annotations

import json
import logging
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from foundation.common.credentials import holds_secret
from foundation.common.errors import ConfigError, FoundationError
from foundation.common.extensions.search_folders import INHERITED
from foundation.common.files.locks import write_whole
from foundation.training.pretrain_settings import PretrainSettings, host_list
from foundation.version import __version__

log = logging.getLogger(__name__)
# Passed to the other machines in addition to DeepSpeed's own (MLFLOW*, PYTHON*, UCX*, NCCL*).
PASSED_ON = (
    "DS_ACCELERATOR",
    "FOUNDATION_LOG",
    "GLOO_",
    "HF_",
    "NCCL_",
    "OMP_NUM_THREADS",
    "TORCH_",
    "XDG_STATE_HOME",
    *INHERITED,
)
SECRET = ("KEY", "PASSWORD", "SECRET", "TOKEN")


def write_hostfile(settings: PretrainSettings, path: Path) -> Path:
    """Write the hostfile of a run: a line for each machine with its number of processes."""
    write_whole(path, "".join(f"{host} slots={settings.processes}\n" for host in host_list(settings.hosts)))
    return path


def environment_lines(environment: Mapping[str, str], files: list[Path]) -> list[str]:
    """Return the environment of the processes on other machines, as lines of DeepSpeed's ``.deepspeed_env``.

    Args:
        environment: environment of this process. Secrets are left out, as DeepSpeed prints what it passes.
        files: the user's own ``.deepspeed_env`` files, whose lines are kept and take precedence.

    Example:
        >>> environment_lines({"GLOO_SOCKET_IFNAME": "eth0", "HF_TOKEN": "abc", "HOME": "/root"}, [])
        ['GLOO_SOCKET_IFNAME=eth0']
    """
    names = sorted(n for n in environment if n.startswith(PASSED_ON) and not is_secret(n, environment[n]))
    own = [line.strip() for file in files if file.is_file() for line in file.read_text().splitlines() if "=" in line]
    return [f"{name}={environment[name]}" for name in names] + own


def is_secret(name: str, value: str) -> bool:
    """Return True if an environment variable is secret: by its name, or as a URL with a password.

    Example:
        >>> is_secret("MLFLOW_TRACKING_TOKEN", "a"), is_secret("MLFLOW_TRACKING_URI", "http://mlflow:5000")
        (True, False)
        >>> is_secret("MLFLOW_TRACKING_URI", "http://me:password@mlflow:5000")
        True
    """
    return any(word in name.upper() for word in SECRET) or holds_secret(value)


def check_here(settings: PretrainSettings) -> None:
    """Raise unless this machine can start the run.

    Raises:
        ConfigError: if there are fewer GPUs than processes.
        FoundationError: if a program is missing.
    """
    if not settings.hosts:
        gpus = torch.cuda.device_count()
        if gpus and settings.processes > gpus:
            raise ConfigError(
                f"processes is {settings.processes}: this machine has {_gpus(gpus)}, and each process needs one"
            )
        return
    for program, package in (("ssh", "openssh-client"), ("pdsh", "pdsh")):
        if shutil.which(program) is None:
            raise FoundationError(
                f"several machines are reached by {program}, which is not installed here: apt-get install {package}, "
                "or start one process group by hand on each machine (infra/README.md)"
            )


def check_hosts(settings: PretrainSettings, config: Path) -> None:
    """Check all machines in parallel.

    Args:
        settings: settings of the run.
        config: file of the settings, which all machines must see.

    Raises:
        ConfigError: if a machine has fewer GPUs than processes.
        FoundationError: if a machine cannot be reached, or its software or files differ.
    """
    hosts = host_list(settings.hosts)
    with ThreadPoolExecutor(max_workers=min(32, len(hosts))) as pool:
        reports = list(pool.map(lambda host: ask(host, settings, config), hosts))
    kinds = {bool(report["gpus"]) for report in reports}
    for host, report in zip(hosts, reports, strict=True):
        if report["foundation"] != __version__ or report["torch"].split("+")[0] != torch.__version__.split("+")[0]:
            raise FoundationError(
                f"host {host} has foundation {report['foundation']} and torch {report['torch']}, this machine "
                f"{__version__} and {torch.__version__}: install the same on all"
            )
        if not report["sees_config"]:
            raise FoundationError(
                f"host {host} cannot read {config}: output must be a folder that all machines see "
                "under the same path, for the same user"
            )
        if report["gpus"] and settings.processes > report["gpus"]:
            raise ConfigError(
                f"processes is {settings.processes}: host {host} has {_gpus(report['gpus'])}, and each process needs "
                "one"
            )
    if len(kinds) > 1:
        without = [host for host, report in zip(hosts, reports, strict=True) if not report["gpus"]]
        raise ConfigError(
            f"hosts is {settings.hosts!r}: {', '.join(without)} have no GPU and the others do; expected all or none "
            "with GPUs"
        )


def ask(host: str, settings: PretrainSettings, config: Path) -> dict[str, Any]:
    """Return the report of one machine (`host_report`).

    Raises:
        FoundationError: if the machine cannot be reached, or cannot run the report.
    """
    python = os.environ.get("PYTHONPATH")
    words = [*(["env", f"PYTHONPATH={python}"] if python else []), sys.executable]
    report = shlex.join([*words, "-P", "-m", "foundation.training.launch.host_report", str(config)])
    command = ["ssh", *ssh_options(settings), host, f"cd {shlex.quote(os.getcwd())} && {report}"]
    patience = settings.launching.patience
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=patience, check=False
        )
    except subprocess.TimeoutExpired:
        raise FoundationError(f"host {host} does not answer within {patience:g} s (launching.patience)") from None
    last = (done.stderr.strip().splitlines() or ["no error output"])[-1]
    if done.returncode == 255:
        raise FoundationError(
            f"host {host} cannot be reached by ssh ({last}): `ssh {host} true` must work without a password"
        )
    if done.returncode:
        raise FoundationError(
            f"host {host} cannot run {sys.executable} -m foundation.training ({last}): the same environment must be "
            f"there under the same path, and the folder {os.getcwd()} as well"
        )
    report_line = done.stdout.strip().splitlines()[-1]
    log.debug("host %s: %s", host, report_line)
    return dict(json.loads(report_line))


def ssh_options(settings: PretrainSettings) -> list[str]:
    """Return options for an ssh without prompts and with a time limit."""
    port = settings.launching.ssh_port
    wait = max(1, int(settings.launching.patience / 2))
    return ["-o", "BatchMode=yes", "-o", f"ConnectTimeout={wait}", *(["-p", str(port)] if port else [])]


def stop_command(settings: PretrainSettings, config: Path) -> list[str]:
    """Return the pdsh command that asks a run's training processes on all machines to save and stop.

    Its pattern does not match the shells that run it. It exits with 0 if it found processes on each machine.
    """
    path = re.sub(r"[^\w/-]", ".", str(config))
    pattern = f"[f]oundation.training --local_rank=[0-9]* --config {path}$"
    return [
        "pdsh",
        "-R",
        "ssh",
        "-S",
        "-w",
        ",".join(host_list(settings.hosts)),
        f"pkill -TERM -f {shlex.quote(pattern)}",
    ]


def _gpus(count: int) -> str:
    return "1 GPU" if count == 1 else f"{count} GPUs"
