"""Train decoders by one rule for all: the number of epochs is found on a validation part of the training trials."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn

from finetune.reproduce.eit.eit_settings import BY_START, Rule
from finetune.reproduce.eit.reaching_trials import Cuts, Trials, cut
from finetune.reproduce.models import (
    NDT,
    Decoder,
    DecoderOutput,
    EITPublished,
    EITPublishedConfig,
    GRUDecoder,
    GRUDecoderConfig,
    MLPDecoder,
    MLPDecoderConfig,
    NDTConfig,
)
from finetune.training_loop import LengthSearch, run_updates
from foundation.common.errors import ConfigError

log = logging.getLogger(__name__)
Model = TypeVar("Model", bound=nn.Module)


def _eit(n_units: int, n_bins: int, layers: int) -> EITPublished:
    return EITPublished(EITPublishedConfig(n_units=n_units, n_bins=n_bins, interaction_layers=layers))


def _ndt(n_units: int, n_bins: int, supervised: bool) -> NDT:
    return NDT(NDTConfig(n_units=n_units, n_bins=n_bins, supervised=supervised, mask_share=1 / n_bins))


MODELS: dict[str, Callable[[int, int], Decoder]] = {
    "mlp": lambda n, t: MLPDecoder(MLPDecoderConfig(n_units=n, n_bins=t)),
    "gru": lambda n, t: GRUDecoder(GRUDecoderConfig(n_units=n, n_bins=t)),
    "ndt": lambda n, t: _ndt(n, t, supervised=False),
    "ndt-sup": lambda n, t: _ndt(n, t, supervised=True),
    "eit-t": lambda n, t: _eit(n, t, layers=0),
    "eit": lambda n, t: _eit(n, t, layers=2),
}


def fit(
    build: Callable[[], Model],
    trials: Trials,
    n_bins: int,
    rule: Rule,
    seed: int,
    look: Callable[[Model, int], None] | None = None,
    see: Callable[[Cuts], Cuts] = lambda cuts: cuts,
) -> tuple[Model, dict]:
    """A trained decoder, and its training history (``epochs``, and ``validation``, the figure of every epoch).

    ``look`` is called with the model after every epoch of the last training and has no effect on it. ``see`` converts
    windows to the model's inputs.

    Raises:
        ConfigError: if there are too few trials to hold out a fifth.
        FoundationError: if the loss becomes non-finite.
    """
    figures: list[float] = []
    epochs = rule.epochs
    if epochs is None:
        n_held = len(trials) // 5
        if not n_held:
            raise ConfigError(f"{len(trials)} training trials: expected at least 5, one of which is held out")
        learn, held = trials.where(slice(-n_held)), trials.where(slice(-n_held, None))
        epochs = _best_epochs(build, see(cut(learn, n_bins)), see(cut(held, n_bins)), rule, seed, figures)
    model = _start(build, seed)
    training = _Training(model, see(cut(trials, n_bins)), rule, seed)
    for epoch in range(1, epochs + 1):
        training.epoch()
        if look is not None:
            look(model, epoch)
    return model.eval(), {"epochs": epochs, "validation": [round(value, 5) for value in figures]}


def _best_epochs(
    build: Callable[[], Model], learn: Cuts, held: Cuts, rule: Rule, seed: int, figures: list[float]
) -> int:
    model = _start(build, seed)
    training = _Training(model, learn, rule, seed)
    min_looks = min(rule.smooth, rule.max_epochs)
    search = LengthSearch(1, rule.patience, smooth=rule.smooth, min_looks=min_looks, figures=figures)
    for epoch in range(1, rule.max_epochs + 1):
        training.epoch()
        if search.ends(epoch, validate(model, held)):
            break
    log.info("%d epochs (%.3f held out)", search.kept, search.best)
    return search.kept


def _start(build: Callable[[], Model], seed: int) -> Model:
    torch.manual_seed(seed)
    return build()


class _Training:
    """Epochs of Adam over windows."""

    def __init__(self, model: nn.Module, cuts: Cuts, rule: Rule, seed: int) -> None:
        self.model, self.rule = model, rule
        self.x, self.counts = torch.from_numpy(cuts.x_WNT), torch.from_numpy(cuts.count_WNT)
        self.labels = torch.from_numpy(cuts.label_W)[:, None].expand(-1, self.x.shape[-1])
        trained = [p for p in model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.Adam(trained, lr=rule.learning_rate, fused=True)
        self.generator = torch.Generator().manual_seed(seed)
        self.order = torch.from_numpy(cuts.by_start()) if rule.order == BY_START else torch.arange(len(cuts))

    def epoch(self) -> None:
        """Yield every window once; a last batch of a single window is dropped (batch norm needs two)."""
        self.model.train()
        n = len(self.x)
        order = torch.randperm(n, generator=self.generator) if self.rule.shuffle else self.order
        run_updates((rows for rows in order.split(self.rule.batch_size) if len(rows) > 1), self._loss, self.optimizer)

    def _loss(self, rows: torch.Tensor) -> torch.Tensor:
        out = self.model(self.x[rows], labels_BT=self.labels[rows], counts_BNT=self.counts[rows])
        return out.loss


@torch.no_grad()
def validate(model: nn.Module, cuts: Cuts) -> float:
    """Return the accuracy per time step on held-out windows; for a model without labels, minus the masked loss."""
    model.eval()
    if isinstance(model, NDT) and not model.config.supervised:
        with torch.random.fork_rng():
            torch.manual_seed(0)  # mask the same bins after every epoch
            counts = torch.from_numpy(cuts.count_WNT)
            return -float(model(torch.from_numpy(cuts.x_WNT), counts_BNT=counts).loss)
    return float((predict(model, cuts) == cuts.label_W[:, None]).mean())


@torch.no_grad()
def predict(model: nn.Module, cuts: Cuts) -> np.ndarray:
    """``(W, T)`` classes."""
    return model.eval()(torch.from_numpy(cuts.x_WNT)).logits_BTC.argmax(-1).numpy()


@torch.no_grad()
def represent(model: nn.Module, cuts: Cuts) -> np.ndarray:
    """``(W, T, D)`` inputs of the model's last layer."""
    return model.eval()(torch.from_numpy(cuts.x_WNT)).p_BTD.numpy()


def seen_through(model: EITPublished, cuts: Cuts) -> Cuts:
    """Return windows passed through ``model``'s individual module: ``x_WNT`` is its output per unit and bin."""
    return replace(cuts, x_WNT=represent(model, cuts).transpose(0, 2, 1).copy())


class FrozenHead(nn.Module):
    """The head of an EIT (T), for windows that already passed its individual module (`seen_through`).

    Args:
        model: EIT (T); shares its head with this model.

    Example:
        >>> import numpy as np
        >>> from finetune.reproduce.models import EITPublishedConfig
        >>> model = EITPublished(EITPublishedConfig(n_units=3, n_bins=2, interaction_layers=0)).eval()
        >>> windows = Cuts(np.ones((4, 3, 2), np.float32), np.ones((4, 3, 2), np.float32), np.arange(4), np.arange(4))
        >>> seen = torch.from_numpy(seen_through(model, windows).x_WNT)
        >>> plain = model(torch.from_numpy(windows.x_WNT)).logits_BTC
        >>> torch.allclose(FrozenHead(model).eval()(seen).logits_BTC, plain, atol=1e-6)
        True
    """

    def __init__(self, model: EITPublished) -> None:
        super().__init__()
        self.head, self.classify = model.individual_head, model.classify

    def forward(self, z_BNT: torch.Tensor, labels_BT: torch.Tensor | None = None, **_: Any) -> DecoderOutput:
        """Classes at every bin, as `EITPublished` without interaction gives them."""
        p_BTD = z_BNT.transpose(1, 2)
        logits_BTC = self.head(p_BTD)
        return DecoderOutput(loss=self.classify(logits_BTC, labels_BT), logits_BTC=logits_BTC, p_BTD=p_BTD)
