"""Models of neural populations, as transformers models."""

from foundation.environment import name_accelerator
from foundation.models.config import EITConfig
from foundation.models.eit import EIT, EITOutput
from foundation.models.scaling import param_groups

name_accelerator()

__all__ = ["EIT", "EITConfig", "EITOutput", "param_groups"]
