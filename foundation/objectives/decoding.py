"""Supervised decoding over many sessions and tasks, with masked modelling of the population beside it.

Each session has a linear head on the population stream. It predicts the values of behaviour at every token (squared
error of z-scored series), and the class of a trial from the trial's tokens (cross-entropy). All sessions share the
trunk. The hidden units and times of masked modelling are hidden from the heads too, which acts as the dropout of units
that decoders across sessions need; the likelihood of the hidden activity is added with a small weight.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from foundation.data.batch import WindowBatch
from foundation.data.labels import LabelShape
from foundation.models import EITOutput
from foundation.objectives.masked import Masked
from foundation.objectives.masked_settings import DecodingSettings
from foundation.objectives.parts.projector import wide


class Decoding(Masked):
    """Supervised decoding; `add_sessions` creates its heads before training.

    Args:
        settings: see `DecodingSettings`.
        dim: features of the model's tokens.
        model: must have a population stream (``population_layers``).

    Raises:
        ConfigError: if the model has no population stream.
    """

    title = "decoding"
    sums = Masked.sums + 6
    settings: DecodingSettings

    def __init__(self, settings: DecodingSettings, dim: int, model: nn.Module | None = None) -> None:
        super().__init__(settings, dim, model)
        self.dim, self.shape = dim, LabelShape(0, 0, ())
        self.heads: nn.Embedding | None = None

    def add_sessions(self, shape: LabelShape) -> None:
        """Add a linear head for each session and label. Heads start at 0 and so predict the mean of every series."""
        self.shape = shape
        self.heads = nn.Embedding(shape.sessions, (self.dim + 1) * (shape.values + sum(shape.classes)))
        nn.init.zeros_(self.heads.weight)

    def _heads(self, view: WindowBatch) -> torch.Tensor | None:
        """Return ``(B, D + 1, K + M)`` heads of the windows' sessions, heads of values first; 0 for other sessions."""
        if self.heads is None:
            return None
        none_B = torch.full((len(view),), -1, dtype=torch.int64, device=view.x_BNT.device)
        session_B = none_B if view.session_B is None else view.session_B
        weights_BX: torch.Tensor = self.heads(session_B.clamp(min=0)) * (session_B >= 0)[:, None]
        return weights_BX.unflatten(1, (self.dim + 1, -1))

    def _used(self, out: EITOutput) -> torch.Tensor:
        """Return the sum of the outputs that the loss uses; labels are decoded from the population tokens."""
        assert out.p_BTD is not None
        return super()._used(out) + out.p_BTD.sum()

    def _label_sums(
        self, view: WindowBatch, rows: torch.Tensor, out: EITOutput, tokens_BT: torch.Tensor, heads: Any
    ) -> list[torch.Tensor]:
        """Return ``(B, 6)`` sums over each window.

        Columns: weighted squared error of values, their weights, their squares; weighted cross-entropy of classes, the
        weights, and the weights of correctly predicted classes.
        """
        assert out.p_BTD is not None
        p_BTD = wide(out.p_BTD)
        if heads is None:
            return [p_BTD.new_zeros(len(p_BTD), 6)]
        head_BDX = heads[rows].to(p_BTD.dtype)
        predicted_BTX = p_BTD @ head_BDX[:, :-1] + head_BDX[:, -1:]
        if view.value_BTK is None or view.class_BTC is None or view.weight_BT is None:
            return [p_BTD.new_zeros(len(p_BTD), 6) + 0.0 * predicted_BTX.sum()]
        n_tokens, n_values = tokens_BT.shape[1], self.shape.values
        weight_BT = view.weight_BT[rows, :n_tokens].to(p_BTD.dtype) * tokens_BT
        true_BTK = view.value_BTK[rows, :n_tokens].to(p_BTD.dtype)
        weight_BTK = weight_BT[..., None] * true_BTK.isfinite()
        true_BTK = true_BTK.nan_to_num()
        error_BTK = (predicted_BTX[..., :n_values] - true_BTK) ** 2
        values = [(x_BTK * weight_BTK).sum((1, 2)) for x_BTK in (error_BTK, torch.ones_like(error_BTK), true_BTK**2)]
        classes = self._class_sums(view.class_BTC[rows, :n_tokens], weight_BT, predicted_BTX[..., n_values:])
        return [torch.stack([*values, *classes], dim=1)]

    def _class_sums(
        self, class_BTC: torch.Tensor, weight_BT: torch.Tensor, predicted_BTM: torch.Tensor
    ) -> list[torch.Tensor]:
        """Return cross-entropy, weights and weights of correct classes, for the class at the middle of each window.

        The class is predicted from the mean over the tokens that have this class.
        """
        sums_3B = [predicted_BTM.new_zeros(len(predicted_BTM)) for _ in range(3)]
        first = 0
        for column, count in enumerate(self.shape.classes):
            class_BT, there_BT = class_BTC[..., column], (class_BTC[..., column] >= 0) & (weight_BT > 0)
            if count and class_BT.shape[1]:
                middle_B1 = (there_BT.sum(1, keepdim=True) + 1) // 2
                place_B1 = ((there_BT.cumsum(1) == middle_B1) & there_BT).int().argmax(1, keepdim=True)
                class_B = class_BT.gather(1, place_B1)[:, 0]
                share_BT = weight_BT * (there_BT & (class_BT == class_B[:, None]))
                there_B = there_BT.any(1)
                total_B = share_BT.sum(1)
                mean_BM = (predicted_BTM[..., first : first + count] * share_BT[..., None]).sum(1)
                mean_BM = mean_BM / total_B.clamp(min=1e-6)[:, None]
                weight_B = there_B * total_B / share_BT.count_nonzero(1).clamp(min=1)
                loss_B = F.cross_entropy(mean_BM, class_B.clamp(min=0), reduction="none")
                right_B = (mean_BM.argmax(1) == class_B).to(weight_B.dtype)
                for k, x_B in enumerate((loss_B, torch.ones_like(loss_B), right_B)):
                    sums_3B[k] = sums_3B[k] + x_B * weight_B
            first += count
        return sums_3B

    def _terms(self, total_X: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return ``loss`` and its parts: ``values`` (mean squared error), ``classes`` and ``masked``.

        ``r2`` is the explained share of the values' variance, ``accuracy`` the share of correct classes.
        """
        masked = super()._terms(total_X)
        error, weight, squares, entropy, of_classes, right = total_X[Masked.sums :]
        values, classes = error / weight.clamp(min=1e-6), entropy / of_classes.clamp(min=1e-6)
        loss = values + self.settings.class_weight * classes + self.settings.masked_weight * masked["loss"]
        return masked | {
            "loss": loss,
            "values": values.detach(),
            "classes": classes.detach(),
            "masked": masked["loss"].detach(),
            "r2": 1 - error.detach() / squares.detach().clamp(min=1e-6),
            "accuracy": right.detach() / of_classes.detach().clamp(min=1e-6),
        }
