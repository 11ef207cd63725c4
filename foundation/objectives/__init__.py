"""Objectives of pretraining: one file each, one registry."""

from __future__ import annotations

from dataclasses import dataclass, field

from foundation.errors import ConfigError
from foundation.objectives.neurpir import NeurPIR, NeurPIRSettings
from foundation.objectives.vicreg import VICRegSettings, vicreg_terms

OBJECTIVES = {"neurpir": NeurPIR}


@dataclass(frozen=True)
class ObjectiveSettings:
    """Which objective, and its settings.

    Args:
        name: ``neurpir``.
        neurpir: settings of NeurPIR.

    Raises:
        ConfigError: if there is no objective of that name.
    """

    name: str = "neurpir"
    neurpir: NeurPIRSettings = field(default_factory=NeurPIRSettings)

    def __post_init__(self) -> None:
        if self.name not in OBJECTIVES:
            raise ConfigError(f"name is {self.name!r}: one of {', '.join(sorted(OBJECTIVES))}")


def build_objective(settings: ObjectiveSettings, dim: int) -> NeurPIR:
    """The objective that the settings name, for embeddings of ``dim`` features."""
    return OBJECTIVES[settings.name](getattr(settings, settings.name), dim)


__all__ = [
    "OBJECTIVES",
    "NeurPIR",
    "NeurPIRSettings",
    "ObjectiveSettings",
    "VICRegSettings",
    "build_objective",
    "vicreg_terms",
]
