"""The encoder of the published MYOW: a perceptron over the neurons of one population, bin by bin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModel, PretrainedConfig, PreTrainedModel
from transformers.utils import ModelOutput

from foundation.common.errors import ConfigError
from foundation.common.settings.setting_checks import check_whole, listed_wholes
from foundation.models.batch_norm import GlobalBatchNorm


class PopulationMLPConfig(PretrainedConfig):
    """Configuration of the perceptron.

    Args:
        units: neurons N of its one population.
        widths: of its layers; batch norm and ReLU after each except the last.

    Raises:
        ConfigError: if a value is invalid.
    """

    model_type = "population_mlp"

    def __init__(self, units: int = 1, widths: list[int] | None = None, **kwargs: Any) -> None:
        check_whole(1, units=units)
        widths = listed_wholes(1, "widths", [128, 128, 128, 128] if widths is None else widths)
        if not widths:
            raise ConfigError("widths is []: expected one width or more")
        self.units, self.widths, self.dim, self.patch_length = units, widths, widths[-1], 1
        super().__init__(**kwargs)


@dataclass
class PopulationMLPOutput(ModelOutput):
    """Output of the perceptron for B windows.

    Args:
        p_BTD: the population at every bin.
    """

    p_BTD: torch.Tensor | None = None


class PopulationMLP(PreTrainedModel):
    """The perceptron; batch norm is over all bins of the global batch, so all windows must have the same length.

    Args:
        config: its shape.

    Example:
        >>> model = PopulationMLP(PopulationMLPConfig(units=3, widths=[8, 4]))
        >>> tuple(model(torch.ones(5, 3, 2), mask_BN=None, mask_BT=torch.ones(5, 2, dtype=bool)).p_BTD.shape)
        (5, 2, 4)
    """

    config_class = PopulationMLPConfig
    base_model_prefix = "population_mlp"
    main_input_name = "x_BNT"

    def __init__(self, config: PopulationMLPConfig) -> None:
        super().__init__(config)
        layers: list[nn.Module] = []
        width = config.units
        for i, following in enumerate(config.widths):
            layers += [GlobalBatchNorm(width), nn.ReLU()] if i else []
            layers.append(nn.Linear(width, following))
            width = following
        self.layers = nn.Sequential(*layers)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Keep torch's own initialisation, as the released code does."""

    def forward(
        self,
        x_BNT: torch.Tensor,
        mask_BN: torch.Tensor | None,
        mask_BT: torch.Tensor | None,
        dt_B: torch.Tensor | None = None,
        modality_B: torch.Tensor | None = None,
    ) -> PopulationMLPOutput:
        """Embed every bin; see `EIT.forward` for the arguments. Bin width and modality are ignored.

        Raises:
            ValueError: if windows have another number of units, or differ in length during training.
        """
        if x_BNT.shape[1] != self.config.units:
            raise ValueError(f"windows have {x_BNT.shape[1]} units: expected {self.config.units}, the model's units")
        if self.training and mask_BT is not None and not bool(mask_BT.all()):
            raise ValueError("windows of one batch differ in length: expected equal lengths")
        p_MD = self.layers(x_BNT.transpose(1, 2).flatten(0, 1))
        return PopulationMLPOutput(p_BTD=p_MD.unflatten(0, (len(x_BNT), -1)))


AutoConfig.register("population_mlp", PopulationMLPConfig, exist_ok=True)
AutoModel.register(PopulationMLPConfig, PopulationMLP, exist_ok=True)
