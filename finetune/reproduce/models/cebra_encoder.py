"""CEBRA (Schneider et al. 2023) by its authors' package, kept as config.json and safetensors instead of a pickle.

The package is an optional extra; its licence file names a patent application of EPFL: read it before commercial use.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from finetune.reproduce.cebra_settings import CEBRASettings
from foundation.common.errors import CheckpointError, FoundationError
from foundation.common.files.locks import write_whole
from foundation.models.saved.checkpoint_check import check_numbers, weight_shapes


class CEBRAEncoder:
    """CEBRA of one population: contrastive in time, or with behaviour.

    Args:
        settings: see `CEBRASettings`.
    """

    def __init__(self, settings: CEBRASettings | None = None) -> None:
        self.settings = CEBRASettings() if settings is None else settings
        self.network: Any = None
        self.n_units = 0

    def fit(self, x_TN: np.ndarray, behavior_T: np.ndarray | None = None) -> CEBRAEncoder:
        """Fit to activity ``(T, N)``; with behaviour, ``(T,)`` classes or ``(T, K)`` values, near in behaviour.

        Raises:
            FoundationError: if the package is not installed.
        """
        settings = self.settings
        torch.manual_seed(settings.seed)
        np.random.seed(settings.seed)  # noqa: NPY002  the package draws from it
        estimator = _package().CEBRA(
            model_architecture=settings.architecture,
            output_dimension=settings.dim,
            num_hidden_units=settings.hidden,
            time_offsets=settings.time_offsets,
            temperature=settings.temperature,
            learning_rate=settings.learning_rate,
            batch_size=settings.batch_size,
            max_iterations=settings.steps,
            conditional="time" if behavior_T is None else "time_delta",
            device="cpu",
            verbose=False,
        )
        x = np.ascontiguousarray(x_TN, dtype=np.float32)
        with _seeded(settings.seed):
            estimator.fit(x) if behavior_T is None else estimator.fit(x, np.asarray(behavior_T))
        self.network, self.n_units = estimator.model_.eval(), x.shape[1]
        return self

    @torch.no_grad()
    def transform(self, x_TN: np.ndarray) -> np.ndarray:
        """``(T, D)`` float32 embeddings of unit length; the ends are padded by repetition.

        Raises:
            ValueError: if it is not fitted, or the population differs.
        """
        if self.network is None or x_TN.shape[1] != self.n_units:
            raise ValueError(f"this CEBRA is fitted to {self.n_units} units, not {x_TN.shape[1]}")
        offset = self.network.get_offset()
        if len(offset) == 1:  # the package's models of one bin take bins as rows
            return self.network(torch.from_numpy(np.ascontiguousarray(x_TN, dtype=np.float32))).numpy().copy()
        padded_TN = np.pad(np.asarray(x_TN, np.float32), ((offset.left, offset.right - 1), (0, 0)), mode="edge")
        return self.network(torch.from_numpy(padded_TN.T.copy())[None])[0].T.numpy().copy()

    def save_pretrained(self, folder: str | Path) -> None:
        """Write config.json and model.safetensors, each atomically."""
        if self.network is None:
            raise ValueError("this CEBRA is not fitted: call fit before saving")
        folder = Path(folder)
        about = {"model_type": "cebra", "n_units": self.n_units, "settings": asdict(self.settings)}
        write_whole(folder / "config.json", json.dumps(about, indent=1))
        weights = {name: value.contiguous() for name, value in self.network.state_dict().items()}
        write_whole(folder / "model.safetensors", save(weights))

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> CEBRAEncoder:
        """Load a model saved by `save_pretrained`.

        Raises:
            CheckpointError: if it is damaged or of another model.
        """
        try:
            about = json.loads((Path(folder) / "config.json").read_text())
            encoder = cls(CEBRASettings(**about["settings"]))
            settings, encoder.n_units = encoder.settings, about["n_units"]
            sizes = {"n_units": encoder.n_units, "hidden": settings.hidden, "dim": settings.dim}
            check_numbers(Path(folder) / "config.json", sizes, weight_shapes(Path(folder)))
            init = _package().models.init
            encoder.network = init(settings.architecture, encoder.n_units, settings.hidden, settings.dim).eval()
            encoder.network.load_state_dict(load_file(Path(folder) / "model.safetensors"))
        except (CheckpointError, OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
            raise CheckpointError(f"cannot load a CEBRA from {folder}: {error}") from error
        return encoder


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed the package's samplers: they ignore the given seed and take a new one from the system."""
    from cebra.distributions.base import HasGenerator

    begin = HasGenerator.__init__

    def begin_seeded(self: Any, *given: Any, **named: Any) -> None:
        begin(self, *given, **named)
        self.generator.manual_seed(seed)

    HasGenerator.__init__ = begin_seeded
    try:
        yield
    finally:
        HasGenerator.__init__ = begin


def _package() -> Any:
    try:
        import cebra
        import cebra.models
    except ImportError as error:
        raise FoundationError(f"CEBRA needs its package ({error}): pip install 'neural-foundation[cebra]'") from error
    return cebra
