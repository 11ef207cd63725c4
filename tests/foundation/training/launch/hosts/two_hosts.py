"""Two hosts on this machine, for tests that launch by ssh."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import foundation

# The first commands of two_hosts.sh; some containers allow namespaces and then refuse one of these.
PROBE = """
mount --make-rprivate / && mount -t tmpfs tmpfs /run && mkdir /run/netns &&
ip netns add host-a && ip netns add host-b && ip link add eth0 netns host-a type veth peer name eth0 netns host-b &&
ip netns exec host-a true
"""
HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
SOURCES = Path(foundation.__file__).parents[1]


def missing() -> str:
    """Return why two hosts cannot run here; empty if they can."""
    if os.geteuid() != 0:
        return "two hosts need root, for network namespaces"
    for tool in ("/usr/sbin/sshd", "ip", "unshare", "pdsh", "ssh", "ssh-keygen"):
        if shutil.which(tool) is None:
            return f"two hosts need {tool}, which is not installed"
    probe = ["unshare", "--pid", "--mount", "--net", "--fork", "--kill-child", "--mount-proc", "sh", "-c", PROBE]
    if subprocess.run(probe, capture_output=True, check=False).returncode != 0:
        return "two hosts need network namespaces, which this machine does not give"
    return ""


def on_two_hosts(folder: Path, commands: str, timeout: float = 900) -> subprocess.CompletedProcess[str]:
    """Run lines of bash on host-a, in a separate folder, with the `foundation` and `deepspeed` of this Python."""
    machine = folder / "machine"
    machine.mkdir()
    (machine / "bin").mkdir()
    program = f'#!/bin/sh\nexec {sys.executable} -m foundation "$@"\n'  # the sources under test, wherever they lie
    (machine / "bin" / "foundation").write_text(program)
    (machine / "bin" / "foundation").chmod(0o755)
    script = folder / "commands.sh"
    script.write_text(f"cd {folder}\n{commands}")
    environment = {
        "PATH": f"{machine}/bin:{BIN}:{os.environ['PATH']}",
        "PYTHONPATH": str(SOURCES),
        "LANG": "C.UTF-8",
        "OMP_NUM_THREADS": "1",
        "FOUNDATION_LOG": str(folder / "log"),
        "MLFLOW_TRACKING_PASSWORD": "not-to-be-shown",
    }
    return subprocess.run(
        [HERE / "two_hosts.sh", machine, "bash", script],
        capture_output=True, text=True, env=environment, cwd=folder, timeout=timeout, check=False,
    )  # fmt: skip
