"""Shipped files: Ray accepts the cluster's description, and configs fit their settings."""

from pathlib import Path

import pytest
import yaml

from foundation.common.settings.command import build_parser, parse
from foundation.common.settings.resources import config_folder, config_names
from ingest.job import IngestSettings
from ingest.simulate import SimulateSettings
from ingest.sorting.simulation.simulated_voltage_settings import VoltageSettings

ROOT = Path(__file__).parents[3]


def test_ray_accepts_the_cluster_description(tmp_path):
    from ray.autoscaler._private.util import prepare_config, validate_config

    text = (ROOT / "infra" / "ingest.yaml").read_text()
    for blank, value in {
        "<HEAD>": "127.0.0.1",
        "<WORKER_1>": "127.0.0.2",
        "<WORKER_2>": "127.0.0.3",
        "<USER>": "someone",
        "<PATH_OF_YOUR_PRIVATE_KEY>": "~/.ssh/id",
        "<VENV>": "/opt/venv",
    }.items():
        assert blank in text
        text = text.replace(blank, value)
    assert "<" not in "".join(line.split("#")[0] for line in text.splitlines())
    config = prepare_config(yaml.safe_load(text))
    validate_config(config)
    assert config["max_workers"] == len(config["provider"]["worker_ips"])


# What people copy and change: every field is explained. Others are settings of one experiment.
TO_START_FROM = ("ingest/archive", "ingest/folder", "simulate/demo")


def settings_of(name: str) -> type:
    """Return the class of the command that the first line of a shipped config names."""
    if name.startswith("ingest/"):
        return IngestSettings
    first_line = (config_folder() / f"{name}.yaml").read_text().splitlines()[0]
    return VoltageSettings if "foundation simulate voltage" in first_line else SimulateSettings


@pytest.mark.parametrize("name", [*config_names("ingest"), *config_names("simulate")])
def test_shipped_configs_fit_their_settings_and_are_explained(name):
    path = config_folder() / f"{name}.yaml"
    settings = settings_of(name)
    parsed = parse(build_parser("test", print, settings), settings, ["--config", str(path)])
    assert isinstance(parsed, settings)
    lines = path.read_text().splitlines()
    assert lines[0].startswith("# ")
    if name not in TO_START_FROM:
        return
    last = ""
    for line in lines:
        line = line.strip()
        if line and not line.startswith("#"):
            key = line.split(":")[0]
            assert last.startswith("#") or key in ("nrem", "rem"), f"{key} has no comment above it"
        last = line
