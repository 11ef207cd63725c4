"""Swap-VAE's network: encodes a population's bin into content, which two views share, and style, in which they differ.

Liu et al. 2021 (arXiv 2111.02338), with the widths of the released code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModel, PretrainedConfig, PreTrainedModel
from transformers.utils import ModelOutput

from foundation.common.settings.setting_checks import check_whole
from foundation.models.batch_norm import GlobalBatchNorm


class SwapVAEConfig(PretrainedConfig):
    """Configuration of a Swap-VAE.

    Args:
        units: neurons N of its one population.
        content: features of the content.
        style: features of the style.
        hidden: width of the inner layers other than those of width N.
        hertz: whether the input is rates in events a second; otherwise events in the window.

    Raises:
        ConfigError: if a value is invalid.
    """

    model_type = "swap_vae"

    def __init__(
        self, units: int = 1, content: int = 64, style: int = 64, hidden: int = 128, hertz: bool = False, **kwargs: Any
    ) -> None:
        check_whole(1, units=units, content=content, style=style, hidden=hidden)
        self.units, self.content, self.style, self.hidden, self.hertz = units, content, style, hidden, hertz
        super().__init__(**kwargs)


@dataclass
class SwapVAEOutput(ModelOutput):
    """Output of Swap-VAE for B windows.

    Args:
        p_BTD: content and the mean of the style, as one token.
        content_BC: content.
        mean_BS: mean of the style.
        log_var_BS: log variance of the style.
    """

    p_BTD: torch.Tensor | None = None
    content_BC: torch.Tensor | None = None
    mean_BS: torch.Tensor | None = None
    log_var_BS: torch.Tensor | None = None


class SwapVAEModel(PreTrainedModel):
    """Encoder and decoder; batch norm is over the global batch.

    Args:
        config: its shape.

    Example:
        >>> model = SwapVAEModel(SwapVAEConfig(units=3, content=4, style=2, hidden=8)).eval()
        >>> out = model(torch.ones(5, 3, 1), torch.ones(5, 3, dtype=bool), torch.ones(5, 1, dtype=bool), torch.ones(5))
        >>> tuple(out.p_BTD.shape), tuple(model.decode(out.content_BC, out.mean_BS).shape)
        ((5, 1, 6), (5, 3))
    """

    config_class = SwapVAEConfig
    base_model_prefix = "swap_vae"
    main_input_name = "x_BNT"

    def __init__(self, config: SwapVAEConfig) -> None:
        super().__init__(config)
        n, h, c, s = config.units, config.hidden, config.content, config.style
        self.encoder = nn.Sequential(
            *(nn.Linear(n, n), GlobalBatchNorm(n), nn.ReLU()),
            *(nn.Linear(n, h), GlobalBatchNorm(h), nn.ReLU()),
            nn.Linear(h, c + 2 * s),
        )
        self.decoder = nn.Sequential(
            *(nn.Linear(c + s, h), GlobalBatchNorm(h), nn.ReLU()),
            *(nn.Linear(h, n), GlobalBatchNorm(n), nn.ReLU()),
            *(nn.Linear(n, n), nn.Softplus()),
        )
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Keep torch's own initialisation, as the released code does."""

    def activity(self, x_BNT: torch.Tensor, mask_BT: torch.Tensor, dt_B: torch.Tensor) -> torch.Tensor:
        """Return ``(B, N)`` the network's input of a window: events, or events a second.

        Raises:
            ValueError: if windows have another number of units.
        """
        if x_BNT.shape[1] != self.config.units:
            raise ValueError(
                f"windows have {x_BNT.shape[1]} units: expected {self.config.units}, the units of this Swap-VAE"
            )
        total_BN = x_BNT.sum(-1)
        if self.config.hertz:
            total_BN = total_BN / (mask_BT.sum(1).clamp(min=1) * dt_B)[:, None].to(total_BN.dtype)
        return total_BN

    def forward(
        self,
        x_BNT: torch.Tensor,
        mask_BN: torch.Tensor,
        mask_BT: torch.Tensor,
        dt_B: torch.Tensor,
        modality_B: torch.Tensor | None = None,
    ) -> SwapVAEOutput:
        """Encode windows; see `EIT.forward` for the arguments."""
        encoded = self.encoder(self.activity(x_BNT, mask_BT, dt_B))
        content, mean, log_var = encoded.split([self.config.content, self.config.style, self.config.style], dim=-1)
        p_BTD = torch.cat([content, mean], dim=-1)[:, None]
        return SwapVAEOutput(p_BTD=p_BTD, content_BC=content, mean_BS=mean, log_var_BS=log_var)

    def decode(self, content_BC: torch.Tensor, style_BS: torch.Tensor) -> torch.Tensor:
        """Return ``(B, N)`` rates, above 0."""
        return self.decoder(torch.cat([content_BC, style_BS], dim=-1))


AutoConfig.register("swap_vae", SwapVAEConfig, exist_ok=True)
AutoModel.register(SwapVAEConfig, SwapVAEModel, exist_ok=True)
