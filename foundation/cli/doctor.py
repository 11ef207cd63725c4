"""`foundation doctor`: what is installed, which device, what is missing and what to do about it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
from dataclasses import dataclass

import psutil

from foundation.common.settings.resources import config_folder, config_names
from foundation.version import __version__

PACKAGES = {
    "": ("torch", "transformers", "safetensors", "zarr", "numcodecs", "fsspec", "numpy", "numba", "pyarrow"),
    "ingest": ("ray", "pynwb", "dandi", "s3fs"),
    "train": ("deepspeed", "mlflow-skinny"),
    "sweep": ("ray", "scipy", "matplotlib"),
    "sorting": ("neo", "probeinterface", "scikit-learn", "scipy"),
    "finetune": ("mlflow", "peft", "scikit-learn", "matplotlib", "jinja2"),
}


@dataclass(frozen=True)
class DoctorSettings:
    """`foundation doctor` has no settings."""


@dataclass(frozen=True)
class Diagnosis:
    """Lines to read, and what is missing."""

    lines: list[str]
    missing: list[str]

    @property
    def ok(self) -> bool:
        """Whether nothing is missing."""
        return not self.missing

    def __str__(self) -> str:
        advice = [f"missing: {text}" for text in self.missing] or ["nothing is missing"]
        return "\n".join([*self.lines, "", *advice])


def examine(_: DoctorSettings | None = None) -> Diagnosis:
    """Look at this installation.

    Example:
        >>> examine().lines[0].startswith("foundation ")
        True
    """
    memory = psutil.virtual_memory()
    lines = [
        f"foundation {__version__}, Python {platform.python_version()}, {platform.platform()}",
        f"{os.cpu_count()} cores, {memory.total / 2**30:.0f} GiB memory ({memory.available / 2**30:.0f} GiB free), "
        f"{shutil.disk_usage('.').free / 2**30:.0f} GiB disk free here",
        _device(),
        f"{len(config_names())} shipped configs in {config_folder()}",
        "",
    ]
    missing = []
    for extra, names in PACKAGES.items():
        found = {name: _version(name) for name in names}
        known = ", ".join(f"{name} {version}" for name, version in found.items() if version)
        lines.append(f"{extra or 'core':9} {known or '-'}")
        absent = [name for name, version in found.items() if not version]
        if absent:
            wanted = f"neural-foundation[{extra}]" if extra else "neural-foundation"
            missing.append(f"{', '.join(absent)} ({extra or 'core'}): pip install '{wanted}'")
    return Diagnosis(lines, missing)


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _device() -> str:
    import torch

    if torch.cuda.is_available():
        names = {torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())}
        return f"{torch.cuda.device_count()} GPU: {', '.join(sorted(names))} (CUDA {torch.version.cuda})"
    return f"no GPU: everything runs on the CPU, in {torch.get_num_threads()} threads"
