"""How the processes of a run find each other, and what happens if one never arrives."""

import os
import signal
import socket
import subprocess
import sys
from dataclasses import asdict, replace
from datetime import timedelta

import psutil
import pytest
import torch
import yaml
from torch.distributed import TCPStore, distributed_c10d

from foundation.training.distributed.engine import build_engine, build_module, start_distributed
from foundation.training.distributed.rendezvous import MEETING, Joining, free_port, interface_towards
from foundation.training.pretrain_settings import SafetySettings


def own_addresses() -> list[tuple[str, str]]:
    """Addresses of this machine that others can reach, and their interfaces."""
    every = [(name, a) for name, addresses in psutil.net_if_addrs().items() for a in addresses]
    return [(name, a.address) for name, a in every if a.family == socket.AF_INET and not a.address.startswith("127.")]


def test_interface_has_the_address():
    addresses = own_addresses()
    if not addresses:
        pytest.skip("this machine has no network besides the loopback")
    address = addresses[0][1]
    asked = f"from foundation.training.distributed.rendezvous import interface_towards as i; print(i({address!r}))"
    # A separate process: here, tests may connect only to the loopback.
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout.strip() in [name for name, own in addresses if own == address]


def test_loopback_is_not_used_towards_others():
    assert interface_towards("localhost") == ""
    assert interface_towards("no-such-machine.invalid") == ""


def test_user_setting_is_kept(monkeypatch):
    monkeypatch.setenv("MASTER_ADDR", (own_addresses() or [("", "127.0.0.1")])[0][1])
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "mine")
    with Joining(60):
        assert os.environ["GLOO_SOCKET_IFNAME"] == "mine"


def test_process_does_not_wait_endlessly_for_another(tiny, tmp_path, outside):
    settings = replace(tiny(), safety=SafetySettings(joining=2))
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(asdict(settings)))
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    command = [sys.executable, "-m", "foundation.training", "--config", str(tmp_path / "run.yaml")]
    environment = outside(RANK="0", LOCAL_RANK="0", WORLD_SIZE="2", **place)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 1
    assert "process 0 of 2: the others did not all join" in done.stderr
    assert "within 2 s (safety.joining)" in done.stderr


MEETS = """
import os
import signal
from torch.distributed import TCPStore
from foundation.training.distributed import rendezvous
rendezvous.leave_store_of_torchrun()
TCPStore("127.0.0.1", int(os.environ["MASTER_PORT"]), world_size=2, is_master=os.environ["RANK"] == "0")
print(os.environ["MASTER_PORT"], os.environ["TORCHELASTIC_USE_AGENT_STORE"])
"""


def test_processes_restarted_by_torchrun_use_a_new_rendezvous(outside):
    agent = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    agent.set(MEETING, str(free_port()))  # where nobody listens any longer
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(agent.port), "TORCHELASTIC_USE_AGENT_STORE": "True"}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", MEETS], env=outside(RANK=rank, **place), stdout=subprocess.PIPE, text=True
        )
        for rank in "10"
    ]
    outputs = [process.communicate(timeout=120)[0] for process in started]
    assert outputs[0] == outputs[1]
    assert outputs[0].split() == [agent.get(MEETING).decode(), "False"]
    assert outputs[0].split()[0] != str(agent.port)


@pytest.mark.parametrize("stage", [0, 2])
def test_timeout_applies_to_all_groups(tiny, stage):
    """Including DeepSpeed's own groups, which sum gradients."""
    settings = replace(tiny(zero_stage=stage), safety=SafetySettings(timeout=77))
    start_distributed()
    build_engine(build_module(settings), settings)
    groups = list(distributed_c10d._world.pg_map)
    assert len(groups) > 1
    assert {g._get_backend(torch.device("cpu")).options._timeout for g in groups} == {timedelta(seconds=77)}


def test_unresponsive_process_times_out(tiny, ranks, tmp_path, until):
    """A stopped process keeps its connections open, like a machine that has vanished."""
    settings = replace(tiny(steps=100_000), safety=SafetySettings(timeout=15))
    lines = tmp_path / "run" / "metrics.jsonl"
    waiting, stopped = ranks(settings)
    until(lambda: (lines.is_file() and lines.read_text().count("\n") >= 3) or waiting.poll() is not None)
    stopped.send_signal(signal.SIGSTOP)
    assert waiting.wait(60) == 1
    assert "imed out" in (tmp_path / "rank-0.err").read_text()
