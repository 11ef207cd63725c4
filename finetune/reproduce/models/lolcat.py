"""LOLCAT (Schneider et al. 2023): a unit's cell type from snippets of its activity, weighted by attention.

Each snippet's interval histogram is embedded; several heads give each snippet a weight, softmax over all snippets of
the unit whatever their timescale; the heads' outputs are concatenated and classified. The weights show which
snippets a prediction rests on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from transformers import AutoConfig, AutoModel, PretrainedConfig, PreTrainedModel
from transformers.utils import ModelOutput

from foundation.common.errors import ConfigError
from foundation.common.settings.setting_checks import check_range, check_whole, listed_wholes


class LOLCATConfig(PretrainedConfig):
    """Shape of a LOLCAT.

    Args:
        n_features: bins of the histograms of each timescale.
        n_classes: classes.
        dim: features of a snippet.
        heads: attention heads, each with values of ``dim / heads``.
        dropout: of the classifier's input.
        snippet_dropout: maximum share of a unit's snippets left out in training, drawn per unit.

    Raises:
        ConfigError: if a value is invalid.
    """

    model_type = "lolcat"

    def __init__(
        self,
        n_features: list[int] | None = None,
        n_classes: int = 2,
        dim: int = 64,
        heads: int = 4,
        dropout: float = 0.2,
        snippet_dropout: float = 0.5,
        **kwargs: Any,
    ) -> None:
        self.n_features = listed_wholes(1, "n_features", [90] if n_features is None else n_features)
        if not self.n_features:
            raise ConfigError("n_features is []: one timescale or more")
        check_whole(2, n_classes=n_classes)
        check_whole(1, dim=dim, heads=heads)
        if dim % heads:
            raise ConfigError(f"dim is {dim} and heads {heads}: heads must divide dim")
        check_range(0, 1, dropout=dropout, snippet_dropout=snippet_dropout)
        self.n_classes, self.dim, self.heads = n_classes, dim, heads
        self.dropout, self.snippet_dropout = dropout, snippet_dropout
        super().__init__(**kwargs)


@dataclass
class LOLCATOutput(ModelOutput):
    """Output of LOLCAT for B units.

    Args:
        loss: cross-entropy, where labels are given.
        logits_BC: for each class.
        z_BD: the unit's embedding, the concatenated heads.
        attention_BHS: weight of each snippet (timescale by timescale) in each head; sums to 1.
    """

    loss: torch.Tensor | None = None
    logits_BC: torch.Tensor | None = None
    z_BD: torch.Tensor | None = None
    attention_BHS: torch.Tensor | None = None


class SnippetEncoder(nn.Module):
    """Histograms of one timescale, each bin scaled by the training units' mean and spread, as features."""

    mean_F: torch.Tensor
    scale_F: torch.Tensor

    def __init__(self, n_features: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("mean_F", torch.zeros(n_features))
        self.register_buffer("scale_F", torch.ones(n_features))
        self.layers = nn.Sequential(nn.Linear(n_features, dim), nn.PReLU(), nn.Linear(dim, dim), nn.PReLU())

    def fit(self, x_BSF: torch.Tensor, mask_BS: torch.Tensor) -> None:
        """Take mean and spread from training units; constant bins become 0."""
        x_MF = x_BSF[mask_BS].double()
        std_F = x_MF.std(0, unbiased=False)
        self.mean_F.copy_(x_MF.mean(0))
        self.scale_F.copy_(torch.where(std_F > 0, 1 / std_F, 0.0))

    def forward(self, x_BSF: torch.Tensor) -> torch.Tensor:
        """``(B, S, D)``."""
        return self.layers((x_BSF - self.mean_F) * self.scale_F)


class LOLCAT(PreTrainedModel):
    """The model.

    Args:
        config: its shape.

    Example:
        >>> model = LOLCAT(LOLCATConfig(n_features=[6, 9], n_classes=3)).eval()
        >>> out = model([torch.ones(2, 4, 6), torch.ones(2, 5, 9)])
        >>> tuple(out.logits_BC.shape), tuple(out.attention_BHS.shape)
        ((2, 3), (2, 4, 9))
    """

    config_class = LOLCATConfig
    base_model_prefix = "lolcat"
    main_input_name = "histograms"

    def __init__(self, config: LOLCATConfig) -> None:
        super().__init__(config)
        dim, heads = config.dim, config.heads
        self.encoders = nn.ModuleList(SnippetEncoder(n, dim) for n in config.n_features)
        self.gates = nn.ModuleList(
            nn.Sequential(nn.Linear(dim, dim, bias=False), nn.PReLU(), nn.Linear(dim, 1)) for _ in range(heads)
        )
        self.values = nn.ModuleList(
            nn.Sequential(nn.Linear(dim, dim), nn.PReLU(), nn.Linear(dim, dim // heads)) for _ in range(heads)
        )
        self.classifier = nn.Sequential(
            nn.Linear(dim, dim), nn.PReLU(), nn.Dropout(config.dropout), nn.Linear(dim, config.n_classes)
        )
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        reset = getattr(module, "reset_parameters", None)
        if callable(reset):
            reset()

    def fit_scale(self, histograms: Sequence[torch.Tensor], masks: Sequence[torch.Tensor]) -> None:
        """Take the scaling of histograms from training units.

        Raises:
            ValueError: if masks exclude all snippets of a timescale.
        """
        for scale, mask_BS in enumerate(masks):
            if not mask_BS.any():
                raise ValueError(f"masks[{scale}] excludes all {mask_BS.numel()} snippets: expected at least one kept")
        for encoder, x_BSF, mask_BS in zip(self.encoders, histograms, masks, strict=True):
            assert isinstance(encoder, SnippetEncoder)
            encoder.fit(x_BSF, mask_BS)

    def forward(
        self,
        histograms: Sequence[torch.Tensor],
        masks: Sequence[torch.Tensor] | None = None,
        labels_B: torch.Tensor | None = None,
        weight_C: torch.Tensor | None = None,
    ) -> LOLCATOutput:
        """Classes of B units.

        Args:
            histograms: ``(B, S, F)`` of each timescale (`snippet_batch`).
            masks: ``(B, S)`` bool per timescale, the snippets to use; by default all.
            labels_B: int64 classes.
            weight_C: weights of classes in the loss.

        Raises:
            ValueError: if a unit has no unmasked snippet.
        """
        if masks is None:
            masks = [torch.ones(x.shape[:2], dtype=torch.bool, device=x.device) for x in histograms]
        h_BSD = torch.cat([encode(x) for encode, x in zip(self.encoders, histograms, strict=True)], dim=1)
        mask_BS = torch.cat(list(masks), dim=1)
        if not torch.compiler.is_compiling() and not mask_BS.any(1).all():
            without = (~mask_BS.any(1)).nonzero()[:, 0].tolist()
            raise ValueError(
                f"units {without[:5]} of the batch ({len(without)} in all) have no snippet: leave them out"
            )
        mask_BS = self._leave_out(mask_BS)
        scores_BHS = torch.stack([gate(h_BSD)[..., 0] for gate in self.gates], dim=1)
        attention_BHS = scores_BHS.masked_fill(~mask_BS[:, None], -torch.inf).softmax(-1)
        values = [
            a_BS[:, None] @ value(h_BSD) for a_BS, value in zip(attention_BHS.unbind(1), self.values, strict=True)
        ]
        z_BD = torch.cat(values, dim=-1)[:, 0]
        logits_BC = self.classifier(z_BD)
        loss = None if labels_B is None else F.cross_entropy(logits_BC, labels_B, weight_C)
        return LOLCATOutput(loss=loss, logits_BC=logits_BC, z_BD=z_BD, attention_BHS=attention_BHS)

    def _leave_out(self, mask_BS: torch.Tensor) -> torch.Tensor:
        """Return the mask with some snippets left out in training; a unit keeps at least one."""
        if not self.training or not self.config.snippet_dropout:
            return mask_BS
        share_B1 = torch.rand(len(mask_BS), 1, device=mask_BS.device) * self.config.snippet_dropout
        draw_BS = torch.rand(mask_BS.shape, device=mask_BS.device).masked_fill(~mask_BS, -1.0)
        return mask_BS & ((draw_BS >= share_B1) | (draw_BS == draw_BS.amax(1, keepdim=True)))


AutoConfig.register(LOLCATConfig.model_type, LOLCATConfig, exist_ok=True)
AutoModel.register(LOLCATConfig, LOLCAT, exist_ok=True)
