"""Swap-VAE: two bins near each other share their content, so it can be swapped between them; their styles differ.

Liu et al. 2021 (arXiv 2111.02338). It brings its own encoder, `foundation.models.swap_vae_network.SwapVAEModel`.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from foundation.data.batch import WindowBatch
from foundation.data.steps.step import StepContext
from foundation.data.steps.views import ViewSpec
from foundation.models.swap_vae_network import SwapVAEModel
from foundation.objectives.base import Objective, two_views
from foundation.objectives.method_settings import SwapVAESettings
from foundation.objectives.parts.gather import gather_rows
from foundation.objectives.parts.projector import wide


def poisson_of_rates(rate: torch.Tensor, count: torch.Tensor) -> torch.Tensor:
    """Return ``rate - count log(rate)``: the negative log-likelihood up to a constant."""
    return rate - count * (rate + 1e-8).log()


class SwapVAE(Objective):
    """Swap-VAE; all its parameters are in its own network.

    Args:
        settings: see `SwapVAESettings`.
        dim: unused.
        model: unused.
    """

    def __init__(self, settings: SwapVAESettings, dim: int = 0, model: nn.Module | None = None) -> None:
        super().__init__()
        self.settings = settings

    @property
    def view_spec(self) -> ViewSpec:
        """Two tokens near each other."""
        return ViewSpec(2, 1, 1, self.settings.max_distance)

    def losses(
        self, model: nn.Module, views: list[WindowBatch], context: StepContext
    ) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """Return ``reconstruction``, ``swapped``, ``divergence``, ``alignment``: means over the global batch's windows.

        Reconstructions are sums over units, the divergence is a sum over features; both are means of the two views.
        """
        s = self.settings
        if not isinstance(model, SwapVAEModel):
            raise TypeError(f"model is a {type(model).__name__}: expected the SwapVAEModel that the objective brings")
        pair = two_views(views, self.view_spec, s.augmentations, context)
        true = [wide(model.activity(v.x_BNT, v.mask_BT, v.dt_B)) for v in views[:2]]
        outs = [model(**view.model_inputs()) for view in pair]
        styles = [self._sample(out.mean_BS, out.log_var_BS, context, k) for k, out in enumerate(outs)]
        kept_B = swapped_B = divergence_B = torch.zeros((), device=true[0].device)
        for k, out in enumerate(outs):
            kept = wide(model.decode(out.content_BC, styles[k]))
            swapped = wide(model.decode(outs[1 - k].content_BC, styles[k]))
            kept_B = kept_B + poisson_of_rates(kept, true[k]).sum(1) / 2
            swapped_B = swapped_B + poisson_of_rates(swapped, true[k]).sum(1) / 2
            mean, log_var = wide(out.mean_BS), wide(out.log_var_BS)
            divergence_B = divergence_B + 0.25 * (mean**2 + log_var.exp() - 1 - log_var).sum(1)
        apart_B = 2 - 2 * F.cosine_similarity(wide(outs[0].content_BC), wide(outs[1].content_BC), dim=1)
        terms_B4 = torch.stack([kept_B, swapped_B, divergence_B, apart_B], dim=1)
        kept, swapped, divergence, alignment = gather_rows(terms_B4).mean(0)
        terms = {
            "loss": kept + swapped + s.divergence * divergence + s.alignment * alignment,
            "reconstruction": kept,
            "swapped": swapped,
            "divergence": divergence,
            "alignment": alignment,
        }
        return terms, gather_rows(outs[0].p_BTD[:, 0].detach())

    @staticmethod
    def _sample(mean_BS: torch.Tensor, log_var_BS: torch.Tensor, context: StepContext, number: int) -> torch.Tensor:
        """Draw a style for each window."""
        noise = context.draws("style", number).normal(mean_BS.shape[1]).to(mean_BS.dtype)
        return mean_BS + (0.5 * log_var_BS).exp() * noise
