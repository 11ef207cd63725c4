"""Commands and processes of a launch, and refusals before anything starts."""

import logging
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import yaml

from foundation.cli.commands import main
from foundation.common.errors import ConfigError, FoundationError
from foundation.common.settings.command import build_parser, parse
from foundation.training import PretrainSettings
from foundation.training.launch.hosts import check_here, stop_command, write_hostfile
from foundation.training.launch.launch import PRINTED, launch_command, launch_environment, write_config
from foundation.training.output.run_folder import RunFolder
from foundation.training.pretrain_settings import LaunchSettings, SavingSettings


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"hosts": "a,,b"}, "hosts is 'a,,b'"),
        ({"hosts": "a,-oProxyCommand=x"}, "names or addresses"),
        ({"hosts": "a,a"}, "each machine once"),
        (
            {"hosts": "a,b", "processes": 3},
            "processes is 3 on each of 2 hosts: expected at most data.min_windows=4 in all",
        ),
        ({"restarts": -1}, "restarts is -1: expected 0 or more"),
    ],
)
def test_invalid_settings_are_refused(tiny, changes, expected):
    with pytest.raises(ConfigError, match=expected):
        tiny(**changes)
    with pytest.raises(ConfigError, match=r"launching.port is 0: expected 1 to 65535"):
        LaunchSettings(port=0)


def test_command_for_several_machines(tiny, tmp_path):
    settings = tiny(hosts="a,me@10.0.0.2", processes=2, launching=LaunchSettings(ssh_port=2222, address="10.0.0.1"))
    hostfile = write_hostfile(settings, tmp_path / "hostfile")
    assert hostfile.read_text() == "a slots=2\nme@10.0.0.2 slots=2\n"
    command = launch_command(settings, tmp_path / "launch.yaml", attempt=2)
    assert command == [
        *["deepspeed", "--hostfile", str(hostfile), "--master_port", "29502", "--master_addr", "10.0.0.1"],
        *["--ssh_port", "2222", "--module", "foundation.training", "--config", str(tmp_path / "launch.yaml")],
    ]
    assert "--force_multi" in launch_command(tiny(hosts="a"), tmp_path / "launch.yaml")


def test_deepspeed_reads_the_command_and_the_hostfile(tiny, tmp_path):
    from deepspeed.launcher.runner import fetch_hostfile, parse_args

    settings = tiny(hosts="a,b", processes=2)
    write_hostfile(settings, tmp_path / "hostfile")
    read = parse_args(launch_command(settings, tmp_path / "launch.yaml")[1:])
    assert dict(fetch_hostfile(read.hostfile)) == {"a": 2, "b": 2}
    assert (read.module, read.user_script, read.user_args[0]) == (True, "foundation.training", "--config")
    shipped = fetch_hostfile(str(Path(__file__).parents[4] / "infra" / "hostfile"))
    assert dict(shipped) == {"node-1": 8, "node-2": 8}


def test_place_of_a_run_is_not_part_of_its_identity(tiny):
    here, there = tiny(), tiny(hosts="a,b", processes=2, restarts=3, launching=LaunchSettings(port=4000))
    assert here.identity() == there.identity()


def test_secrets_stay_on_this_machine(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "abc")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000")
    monkeypatch.setenv("NCCL_DEBUG", "INFO")
    environment = launch_environment(tiny(hosts="a,b"), tmp_path)
    assert "abc" not in environment.values()
    assert environment["MLFLOW_TRACKING_URI"] == "http://mlflow:5000"
    lines = (tmp_path / "launch.env").read_text().splitlines()
    assert "NCCL_DEBUG=INFO" in lines
    assert all(line.count("=") >= 1 for line in lines)
    assert launch_environment(tiny(processes=2), tmp_path)["MLFLOW_TRACKING_TOKEN"] == "abc"


def test_password_in_a_url_reaches_processes_in_a_private_file(tiny, tmp_path, monkeypatch):
    uri = "http://me:s3cret@mlflow:5000"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("HF_ENDPOINT", uri)
    monkeypatch.setenv("NCCL_NET_URL", uri)
    settings = tiny(hosts="a,b", saving=SavingSettings(place="s3://key:s3cret@bucket/run"))
    environment = launch_environment(settings, tmp_path)
    assert not [name for name in environment if name.startswith(PRINTED) and "s3cret" in environment[name]]
    assert "s3cret" not in (tmp_path / "launch.env").read_text()
    config = tmp_path / "launch.yaml"
    config.write_text("of an earlier start")
    write_config(settings, config)
    assert config.stat().st_mode & 0o777 == 0o600
    command = ["--config", str(config)]
    assert parse(build_parser("test", print, PretrainSettings), PretrainSettings, command) == replace(
        settings, tracking_uri=uri
    )
    assert launch_environment(tiny(processes=2), tmp_path)["MLFLOW_TRACKING_URI"] == uri
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    write_config(tiny(hosts="a,b"), tmp_path / "open.yaml")
    (tmp_path / "other").touch()
    assert (tmp_path / "open.yaml").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_shared_settings_hold_no_password_and_identity_ignores_it(tiny, tmp_path):
    settings = tiny(store="s3://key:s3cret@bucket/store", tracking_uri="http://me:s3cret@mlflow:5000")
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    folder.write_settings(settings)
    written = "".join(path.read_text() for path in folder.path.iterdir())
    assert "s3://bucket/store" in written
    assert "s3cret" not in written
    assert settings.identity() == tiny().identity()


def test_command_line_and_log_hold_no_password(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FOUNDATION_LOG", str(tmp_path / "log"))
    store = "memory://me:s3cret@host/store"
    assert main(["pretrain", "--store", store, "--output", str(tmp_path / "run")]) == 1
    assert main(["pretrain", "--store", store, "--output", str(tmp_path / "run"), "--steps", store]) == 2
    try:
        raise ValueError(f"{store} is away")
    except ValueError:
        logging.getLogger("foundation").warning("at %s", store, exc_info=True)
    expected = capsys.readouterr().err + (tmp_path / "log").read_text()
    assert "host/store is away" in expected
    assert "s3cret" not in expected


def test_missing_program_and_missing_gpus_are_reported(tiny, monkeypatch):
    monkeypatch.setenv("PATH", "/none")
    with pytest.raises(FoundationError, match="reached by ssh, which is not installed here: apt-get install"):
        check_here(tiny(hosts="a,b"))
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    with pytest.raises(ConfigError, match="processes is 2: this machine has 1 GPU"):
        check_here(tiny(processes=2))


def test_stop_pattern_matches_training_and_not_its_launchers(tiny):
    import re
    import shlex

    expected = stop_command(tiny(hosts="a,b"), Path("/runs/a+b/launch.yaml"))
    assert expected[:6] == ["pdsh", "-R", "ssh", "-S", "-w", "a,b"]
    pattern = shlex.split(expected[6])[-1]
    rest = "--config /runs/a+b/launch.yaml"
    assert re.search(pattern, f"python -u -m foundation.training --local_rank=1 {rest}")
    assert not re.search(pattern, f"python -m deepspeed.launcher.launch --module foundation.training {rest}")
    assert not re.search(pattern, expected[6])


def test_stop_before_the_processes_start_is_not_lost(tiny, tmp_path, outside):
    """A run that was asked to stop is not restarted automatically."""
    settings = tiny(steps=100_000, processes=2, restarts=3)
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(asdict(settings)))
    command = [sys.executable, "-m", "foundation", "pretrain", "--config", str(tmp_path / "run.yaml")]
    with subprocess.Popen(command, env=outside(), stderr=subprocess.PIPE, text=True) as run:
        line = run.stderr.readline()
        assert "deepspeed --num_accelerators 2" in line, line
        time.sleep(0.5)
        run.terminate()
        expected = run.stderr.read()
    assert run.returncode == 75, expected
    assert "SIGTERM: asking the training processes" in expected
    assert "restart" not in expected
