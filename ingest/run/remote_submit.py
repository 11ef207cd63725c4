"""Submit a job to the Ray cluster of a YAML file, with this machine's settings and recipe."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import yaml

from foundation.common.credentials import holds_secret
from foundation.common.errors import ConfigError
from foundation.common.extensions.named_classes import is_class_name
from foundation.common.files.locks import write_whole
from foundation.common.settings.resources import find_config
from ingest.run.ingest_settings import AUTO, IngestSettings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Shipped:
    """The exit of a job on a cluster.

    Args:
        status: its exit status.
        cluster: the cluster's file.
    """

    status: int
    cluster: str

    @property
    def ok(self) -> bool:
        return self.status == 0

    def __str__(self) -> str:
        return f"the job on {self.cluster} ended with status {self.status}"


def run_on_cluster(settings: IngestSettings, cluster: str) -> Shipped:
    """Copy settings and recipe to the cluster's head, and run ``ingest/job.py`` there by ``ray submit``.

    Args:
        settings: of the ingest.
        cluster: the YAML file of a Ray cluster.

    Raises:
        ConfigError: if there is no such file, or the ``ray`` command is missing or cannot reach the cluster.
    """
    if not Path(cluster).is_file():
        raise ConfigError(f"cluster is {cluster!r}: expected a Ray cluster's YAML file, such as infra/ingest.yaml")
    ray = _ray_command()
    with tempfile.TemporaryDirectory() as folder:
        files = _write(settings, Path(folder))
        for file in files:
            _run([ray, "rsync-up", cluster, str(file), f"~/{file.name}"])
        job = str(Path(__file__).parents[1] / "job.py")
        command = [ray, "submit", cluster, job, "--", "--config", files[0].name]
        log.info("%s", " ".join(command))
        return Shipped(subprocess.run(command, check=False).returncode, cluster)


def _write(settings: IngestSettings, folder: Path) -> list[Path]:
    """Return the settings as YAML and the user's recipe file, named by their content."""
    files: list[Path] = []
    if is_class_name("recipe", settings.recipe):  # of a package that is also installed on the cluster
        if ".py:" in settings.recipe:
            raise ConfigError(
                f"recipe is {settings.recipe!r} and cluster is given: expected a class of a package that is "
                "installed on the cluster, such as mylab.recipes:Class, or a YAML file"
            )
    elif settings.recipe != AUTO:
        recipe = find_config(settings.recipe, "recipes")
        copy = folder / f"foundation-recipe-{_short(recipe.read_bytes())}.yaml"
        shutil.copyfile(recipe, copy)
        settings = replace(settings, recipe=f"./{copy.name}")
        files.append(copy)
    given = asdict(settings)
    values = {setting.name: given[setting.name] for setting in fields(IngestSettings)}
    text = yaml.safe_dump(values, sort_keys=False)
    config = folder / f"foundation-ingest-{_short(text.encode())}.yaml"
    if holds_secret(values):  # the job needs the secrets in its URLs; rsync keeps the mode
        write_whole(config, text, private=True)
    else:
        write_whole(config, text)
    return [config, *files]


def _short(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]


def _ray_command() -> str:
    beside = Path(sys.executable).with_name("ray")
    command = str(beside) if os.access(beside, os.X_OK) else shutil.which("ray")
    if command is None:
        raise ConfigError("the `ray` command is not installed: pip install 'neural-foundation[ingest]'")
    return command


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no message"]
        raise ConfigError(f"{' '.join(command[:3])} failed: {last[0]}")
