"""Records of the training data: windows in the model's config.json, recordings in pretraining.json beside its weights.

Both are part of a checkpoint, so that claims that a recording, an animal or a stretch of time is new to a model can be
checked.
"""

from __future__ import annotations

import platform
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil
import torch

from foundation.common.credentials import public
from foundation.common.processes.cores import usable_cores
from foundation.models.config import EITConfig
from foundation.models.saved.preprocessing import Preprocessing
from foundation.objectives import Objective
from foundation.store.catalog import Catalog
from foundation.training.pretrain_settings import PretrainSettings
from foundation.version import __version__

RECORD, FORMAT = "pretraining.json", 1


def name_windows(config: Any, settings: PretrainSettings, objective: Objective, catalog: Catalog) -> None:
    """Write bin widths, tokens and kinds of recordings of the windows of units into a model's configuration.

    If no objective reads tokens of units, the windows are those of the population, and the configuration says that the
    unit stream was not trained.

    Args:
        config: configuration of the model; that of an objective's own encoder stays unchanged.
        settings: settings of the run.
        objective: the objective, which specifies the views.
        catalog: the recordings.
    """
    if not (isinstance(config, EITConfig) or settings.model.is_own) or settings.objective.own_config() is not None:
        return
    name, part = next((item for item in objective.sharing if item[1].stream == "units"), objective.sharing[0])
    data, spec = settings.data.of(name) if name else settings.data, part.view_spec
    kinds = set(catalog.records.texts("kind"))
    if getattr(config, "tokens", "bins") == "intervals" and part.stream == "units":
        kinds = {"spikes"}  # other kinds have no intervals and are left out
    lengths = spec.max_tokens, tuple(sorted(kinds)), spec.min_tokens
    own = Preprocessing(tuple(sorted(data.bin_widths)), *lengths, units_trained=part.stream == "units")
    config.preprocessing = own.to_dict()


def pretraining_record(settings: PretrainSettings, catalog: Catalog, steps: int, processes: int) -> dict[str, Any]:
    """Return the content of pretraining.json: recordings by digest, held-out time, settings, software and hardware.

    Args:
        settings: settings of the run.
        catalog: the training recordings.
        steps: number of training steps.
        processes: number of training processes.
    """
    recordings = [
        {
            "id": row.id,
            "digest": row.digest,
            "source": {k: v for k, v in row.source.to_dict().items() if k != "path" and v},
            "subject": row.subject,
            "species": row.species,
            "session": row.session,
            "kind": row.kind,
            "units": row.n_units,
            "hours": round(row.duration / 3600, 4),
        }
        for row in catalog.records
    ]
    own = public(asdict(settings))
    return {
        "format": FORMAT,
        "foundation": __version__,
        "steps": steps,
        "recordings": sorted(recordings, key=lambda r: (str(r["subject"]), str(r["session"]), str(r["id"]))),
        "held_out_time": own["data"].pop("held_out_time"),
        "settings": {name: own[name] for name in ("seed", "precision", "model", "data", "objective", "optimizer")},
        "hardware": {**hardware(), "processes": processes},
    }


def hardware() -> dict[str, Any]:
    """Return the hardware and software that this process uses.

    Example:
        >>> sorted(hardware())
        ['cores', 'memory_gb', 'processor', 'python', 'threads', 'torch']
    """
    processor = torch.cuda.get_device_name() if torch.cuda.is_available() else _processor()
    return {
        "processor": processor,
        "cores": usable_cores(),
        "threads": torch.get_num_threads(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()
