"""Models of neural populations, as transformers models."""

from foundation.environment import name_accelerator
from foundation.models.config import EITConfig
from foundation.models.eit import EIT, EITOutput
from foundation.models.population_mlp import PopulationMLP, PopulationMLPConfig
from foundation.models.scaling import param_groups
from foundation.models.swap_vae import SwapVAEConfig, SwapVAEModel

name_accelerator()

__all__ = [
    "EIT",
    "EITConfig",
    "EITOutput",
    "PopulationMLP",
    "PopulationMLPConfig",
    "SwapVAEConfig",
    "SwapVAEModel",
    "param_groups",
]
