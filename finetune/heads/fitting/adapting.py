"""Which weights of a pretrained model learn from labels: all, layer after layer, low-rank ones, or those of units."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from finetune.finetune_settings import FullSettings
from foundation.common.errors import ConfigError
from foundation.common.lazy import optional_package
from foundation.models import EIT

LORA_TARGETS = ["qkv", "q", "kv", "out", "up", "down"]  # layers of attention and of the feed-forward branch
ROWS = "population.rows."
LAYER = re.compile(r"^(?:eit\.)?(population\.trunk|interaction|individual)\.(\d+)\.")
DEPTH = ("individual", "interaction", "population.trunk")  # from the input on


@dataclass(frozen=True)
class Adaptation:
    """A model that is set up to learn.

    Args:
        model: with the weights that learn, and no others, taking gradients.
        how: mode of finetuning: ``full``, ``gradual``, ``lora`` or ``units``.
        stages: of ``gradual``: weights that join at a time, the topmost layer first.
    """

    model: EIT
    how: str
    stages: Sequence[Sequence[nn.Parameter]] = ()

    def groups(self, settings: FullSettings) -> list[dict]:
        """Return groups of parameters for AdamW; only matrices decay, and rows of units do not."""
        named = [(n, p) for n, p in self.model.named_parameters() if p.requires_grad or self.stages]
        decaying = [p for name, p in named if p.ndim > 1 and not (self.how == "units" and name.startswith(ROWS))]
        known = {id(p) for p in decaying}
        others = [p for _, p in named if id(p) not in known]
        found = [(decaying, settings.weight_decay), (others, 0.0)]
        return [{"params": p, "lr": settings.learning_rate, "weight_decay": decay} for p, decay in found if p]

    def unfreeze(self, update: int, updates: int) -> None:
        """Let the weights learn whose turn has come after so many of the updates of a schedule.

        Stages join one after another over the first half of the schedule; the head learns alone before the first.
        """
        for stage, weights in enumerate(self.stages, 1):
            due = update >= stage * updates / (2 * len(self.stages))
            for parameter in weights:
                parameter.requires_grad_(due)

    def merged(self) -> EIT:
        """Return the model with what low-rank weights add written into its own."""
        if self.how == "lora":
            _merge(self.model)
        return self.model.requires_grad_(True)


def adapt(model: EIT, settings: FullSettings, how: str = "full") -> Adaptation:
    """Set a model up to learn; it is changed in place.

    Args:
        model: a copy.
        settings: of the finetuning.
        how: which of its weights learn: ``full`` (all), ``gradual`` (all, one layer after another from the top),
            ``lora`` (low-rank weights beside its matrices) or ``units`` (the rows of units in the population stream).

    Raises:
        ConfigError: if rows of units are to learn and the model has none, it has no layers for low-rank weights, or
            peft is not installed.

    Example:
        >>> from foundation.models import EITConfig
        >>> model = EIT(EITConfig(dim=16, heads=2))
        >>> frozen = {name for name, p in adapt(model, FullSettings(), "lora").model.named_parameters()
        ...           if not p.requires_grad}
        >>> all("lora_" not in name for name in frozen) and len(frozen) > 0
        True
    """
    if how == "lora":
        _add_low_rank(model, settings)
    elif how == "units":
        if model.population is None or not model.population.rows.tables:
            raise ConfigError(
                "mode is 'units' and the model has no rows of units: expected a model with a population stream, or "
                "mode full, gradual or lora"
            )
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name.startswith(ROWS))
    elif how == "gradual":
        return Adaptation(model, how, stages_of(model))
    return Adaptation(model, how)


def stages_of(model: EIT) -> list[list[nn.Parameter]]:
    """Return the weights of a model layer by layer, the topmost first; what is under all layers comes last.

    Example:
        >>> from foundation.models import EITConfig
        >>> model = EIT(EITConfig(dim=16, heads=2, individual_layers=2, interaction_layers=1))
        >>> [len(stage) for stage in stages_of(model)][:1]  # the last norm
        [2]
    """
    layers: dict[tuple[int, int], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        found = LAYER.match(name)
        if found is not None:
            place = (DEPTH.index(found[1]), int(found[2]))
        else:
            place = (len(DEPTH), 0) if "norm" in name or "read_out" in name else (-1, 0)
        layers.setdefault(place, []).append(parameter)
    return [layers[place] for place in sorted(layers, reverse=True)]


def _add_low_rank(model: EIT, settings: FullSettings) -> None:
    """Put low-rank weights beside the matrices of attention and feed-forward layers (Hu et al. 2021, LoRA)."""
    peft = optional_package("peft", "mode 'lora'", "finetune")
    given = peft.LoraConfig(
        r=settings.lora_rank, lora_alpha=2 * settings.lora_rank, lora_dropout=0.0, target_modules=LORA_TARGETS
    )
    try:
        peft.inject_adapter_in_model(given, model)
    except ValueError as error:  # a model of one's own, with layers of other names
        raise ConfigError(
            f"mode is 'lora' and {type(model).__name__} has no layers called {', '.join(LORA_TARGETS)}: "
            "expected full or gradual"
        ) from error
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("lora_" in name)


def _merge(model: nn.Module) -> None:
    """Put each layer back in its place, its low-rank weights added to its own."""
    layer_kind = optional_package("peft.tuners.tuners_utils", "mode 'lora'", "finetune").BaseTunerLayer
    for name, layer in list(model.named_modules()):
        if isinstance(layer, layer_kind):
            layer.merge()
            parent = model.get_submodule(name.rpartition(".")[0])
            setattr(parent, name.rpartition(".")[2], layer.get_base_layer())
