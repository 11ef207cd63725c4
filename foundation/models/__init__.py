"""Models of neural populations, as transformers models."""

from foundation.models.config import EITConfig
from foundation.models.eit import EIT, EITOutput

__all__ = ["EIT", "EITConfig", "EITOutput"]
