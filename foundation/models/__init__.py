"""Models of neural populations, as transformers models."""

from foundation.common.processes.environment import name_accelerator
from foundation.models.config import EITConfig
from foundation.models.eit import EIT, EITOutput
from foundation.models.encoder import Encoder, EncoderConfig, ModelCost
from foundation.models.learning_rates import param_groups
from foundation.models.population_mlp import PopulationMLP, PopulationMLPConfig
from foundation.models.swap_vae_network import SwapVAEConfig, SwapVAEModel

name_accelerator()

__all__ = [
    "EIT",
    "EITConfig",
    "EITOutput",
    "Encoder",
    "EncoderConfig",
    "ModelCost",
    "PopulationMLP",
    "PopulationMLPConfig",
    "SwapVAEConfig",
    "SwapVAEModel",
    "param_groups",
]
