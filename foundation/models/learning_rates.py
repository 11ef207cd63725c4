"""Learning rates that transfer from one width of a model to another."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from foundation.models.parts.attention import Hidden
from foundation.models.parts.population_stream import PopulationRows
from foundation.models.parts.transformer_blocks import Gather
from foundation.models.parts.unit_embeddings import UnitEmbedding

BASE_WIDTH = 64


def param_groups(module: nn.Module, learning_rate: float, weight_decay: float) -> list[dict[str, Any]]:
    """Return parameters in groups for Adam or AdamW.

    Under Adam each entry of a matrix moves by about the learning rate, so what a matrix adds to its output grows with
    the number of its inputs. Matrices whose number of inputs grows with the width therefore get
    ``BASE_WIDTH / width`` of the learning rate (maximal update parametrisation, arXiv 2203.03466, table 8): a rate
    tuned at a small width also works at a large one. Weight decay per step stays the same. Norms, biases and
    embeddings do not decay.

    Args:
        module: contains EITs and any other trained modules. Frozen parameters are left out.
        learning_rate: of models of ``BASE_WIDTH`` features or fewer.
        weight_decay: of matrices.

    Returns:
        Groups with ``params``, ``lr``, ``weight_decay``, and ``lr_scale``, the share of the nominal rate, which a
        schedule must keep. No group is empty.

    Example:
        >>> from foundation.models import EIT, EITConfig
        >>> groups = param_groups(EIT(EITConfig(dim=128)), 1e-3, 0.01)
        >>> [(round(g["lr"], 5), g["weight_decay"], g["lr_scale"]) for g in groups]
        [(0.0005, 0.02, 0.5), (0.001, 0.01, 1.0), (0.001, 0.0, 1.0)]
    """
    scales: dict[torch.Tensor, float] = {}
    undecayed: set[torch.Tensor] = set()
    for part in module.modules():
        width = getattr(getattr(part, "config", None), "dim", BASE_WIDTH)
        if width > BASE_WIDTH:
            scales |= {m.weight: BASE_WIDTH / width for m in part.modules() if isinstance(m, Hidden)}
        if isinstance(part, nn.Embedding | UnitEmbedding | PopulationRows):
            undecayed |= set(part.parameters())
        elif isinstance(part, Gather):
            undecayed.add(part.points)
    groups: dict[tuple[float, bool], list[torch.Tensor]] = {}
    for parameter in module.parameters():
        if parameter.requires_grad:
            decayed = parameter.ndim >= 2 and parameter not in undecayed
            groups.setdefault((scales.get(parameter, 1.0), decayed), []).append(parameter)
    return [
        {
            "params": groups[scale, decayed],
            "lr": learning_rate * scale,
            "weight_decay": weight_decay / scale if decayed else 0.0,
            "lr_scale": scale,
        }
        for scale, decayed in sorted(groups, key=lambda key: (key[0], not key[1]))
    ]
