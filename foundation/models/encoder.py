"""Base classes for your own models, and how a run creates such a model."""

from __future__ import annotations

import dataclasses
import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoConfig, AutoModel, PretrainedConfig, PreTrainedModel

from foundation.common.errors import ConfigError
from foundation.common.extensions.named_classes import class_path, find_class, plain_failure
from foundation.common.lazy import named
from foundation.common.settings.setting_checks import check_whole
from foundation.common.work import Work
from foundation.models.config import EITConfig
from foundation.models.eit import EITOutput, whole_tokens
from foundation.models.saved.preprocessing import Preprocessing

if TYPE_CHECKING:
    import pyarrow as pa

    from foundation.store.recording import Recording
    from foundation.store.stored import StoredRecording

CLASS = "foundation_class"  # field of config.json that names the class of your own model
EIT_NAME = "eit"


class EncoderConfig(PretrainedConfig):
    """Base configuration of your own model, stored in config.json.

    A subclass sets its own ``model_type`` and adds fields, as a dataclass does.

    Args:
        dim: features of an embedding.
        patch_length: bins that make one token.
        preprocessing: the windows of pretraining; written by `foundation pretrain`.

    Raises:
        ConfigError: if a value is invalid.

    Example:
        >>> class LabConfig(EncoderConfig):
        ...     model_type = "docstring_lab"
        ...     hidden: int = 32
        >>> config = LabConfig(hidden=8)
        >>> config.hidden, config.dim, config.patch_length
        (8, 64, 4)
    """

    model_type = "encoder"
    population_layers, causal = 0, False  # EIT's population stream does not exist here
    dim: int = 64
    patch_length: int = 4
    preprocessing: dict[str, Any] | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        check_whole(1, dim=self.dim, patch_length=self.patch_length)
        if self.preprocessing is not None:
            self.preprocessing = Preprocessing.read(self.preprocessing).to_dict()
        super().__post_init__(**kwargs)

    @property
    def population_patch(self) -> int:
        """Bins that make one token of the population over time."""
        return self.patch_length

    @property
    def population_tables(self) -> list[dict[str, int]]:
        """Recordings whose units have rows in a population stream: empty."""
        return []


@dataclass(frozen=True)
class ModelCost:
    """Cost of one forward pass of a model.

    Args:
        forward: FLOPs, bytes moved and operations.
        held: bytes kept for the backward pass.
    """

    forward: Work
    held: float


class Encoder(PreTrainedModel):
    """Base of your own model, for objectives of units and of populations.

    ``--model.name mylab.models:Rates --model.settings '{"dim": 16}'`` trains it; ``model.settings`` are the arguments
    of its configuration. You can also subclass `EIT`, or use any `transformers.PreTrainedModel` whose
    ``config_class`` is an `EncoderConfig` and whose forward has the arguments and outputs of this one; the base adds
    `embed`, `output` and the registration with transformers' ``AutoModel``. A checkpoint holds safetensors and
    config.json, in which ``foundation_class`` names the class.

    Example:
        >>> class RatesConfig(EncoderConfig):
        ...     model_type = "docstring_rates"
        >>> class Rates(Encoder):
        ...     config_class = RatesConfig
        ...     def __init__(self, config):
        ...         super().__init__(config)
        ...         self.read_in = torch.nn.Linear(config.patch_length, config.dim)
        ...         self.post_init()
        ...     def forward(self, x_BNT, mask_BN, mask_BT, dt_B, modality_B):
        ...         h_BNTD = self.read_in(x_BNT.unflatten(-1, (-1, self.config.patch_length)))
        ...         return self.output(h_BNTD, mask_BN, mask_BT)
        >>> model = Rates(RatesConfig(dim=8))
        >>> out = model(torch.ones(1, 3, 8), None, None, torch.tensor([0.02]), torch.tensor([0]))
        >>> tuple(out.h_BNTD.shape), tuple(out.z_BND.shape), tuple(out.p_BTD.shape)
        ((1, 3, 2, 8), (1, 3, 8), (1, 2, 8))
    """

    config_class = EncoderConfig
    base_model_prefix = "encoder"
    main_input_name = "x_BNT"
    population = None  # EIT's population stream does not exist here

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        register(cls)

    def _init_weights(self, module: torch.nn.Module) -> None:
        """Keep torch's own initialisation; a subclass may override this."""

    def forward(
        self,
        x_BNT: torch.Tensor,
        mask_BN: torch.Tensor | None,
        mask_BT: torch.Tensor | None,
        dt_B: torch.Tensor,
        modality_B: torch.Tensor,
    ) -> EITOutput:
        """Embed windows.

        Args:
            x_BNT: ``(B, N, T * patch_length)`` float activity in bins; masked bins may hold anything.
            mask_BN: ``(B, N)`` bool, valid units; None: all.
            mask_BT: ``(B, T * patch_length)`` bool, valid bins; None: all.
            dt_B: ``(B,)`` seconds, the width of a bin.
            modality_B: ``(B,)`` 0 for counts, 1 for values.

        Returns:
            ``h_BNTD`` and ``z_BND`` of units, ``p_BTD`` of the population, as returned by `output`.
        """
        raise NotImplementedError

    def output(self, h_BNTD: torch.Tensor, mask_BN: torch.Tensor | None, mask_BT: torch.Tensor | None) -> EITOutput:
        """Return embeddings of every unit at every token with their means: over tokens, and over units.

        Args:
            h_BNTD: ``(B, N, T, D)``; masked entries may hold anything.
            mask_BN, mask_BT: as for `forward`.
        """
        batch, units, tokens, _ = h_BNTD.shape
        tokens_BT = whole_tokens(mask_BT, self.config.patch_length)
        there_BN = h_BNTD.new_ones(batch, units, dtype=torch.bool) if mask_BN is None else mask_BN
        tokens_BT = h_BNTD.new_ones(batch, tokens, dtype=torch.bool) if tokens_BT is None else tokens_BT
        h_BNTD = h_BNTD * (there_BN[:, :, None] & tokens_BT[:, None, :])[..., None]
        z_BND = h_BNTD.sum(2) / tokens_BT.sum(1).clamp(min=1)[:, None, None]
        p_BTD = h_BNTD.sum(1) / there_BN.sum(1).clamp(min=1)[:, None, None]
        return EITOutput(h_BNTD=h_BNTD, z_BND=z_BND, p_BTD=p_BTD)

    @classmethod
    def cost(cls, config: Any, windows: int, units: int, tokens: int) -> ModelCost | None:
        """Return the cost of one forward pass, for `foundation plan`; None: unknown.

        Args:
            config: of the model.
            windows, units, tokens: size of a batch.
        """
        return None

    def embed(self, recording: Recording | StoredRecording, **options: Any) -> pa.Table:
        """Return an embedding of every unit of a recording, one row per unit; see `foundation.models.EIT.embed`."""
        return named("foundation.embedding.embedding_table:unit_table")(self, recording, **options)


def register(kind: type[PreTrainedModel]) -> None:
    """Register a model class with transformers' ``AutoConfig`` and ``AutoModel``, if it has its own type."""
    config = kind.config_class
    # A class inside a function disappears with the function; the first live class of a type is used.
    if config is None or config is EncoderConfig or getattr(config, "model_type", "") in ("", "encoder", EIT_NAME):
        return
    AutoConfig.register(config.model_type, config, exist_ok=True)
    AutoModel.register(config, kind, exist_ok=True)


def model_class(name: str, setting: str = "model.name") -> type[PreTrainedModel]:
    """Return the class of your own model.

    Raises:
        ConfigError: if it cannot be imported, or is not a model.
    """
    found: type[PreTrainedModel] = find_class("model", name, setting)
    check_architecture(found, f"{setting} is {name!r}")
    return found


def check_architecture(kind: type[PreTrainedModel], about: str) -> None:
    """Raise unless a model takes the windows of a batch, and has a configuration with its own type.

    Args:
        kind: the class.
        about: begins the message.

    Raises:
        ConfigError: names the missing part.
    """
    config = kind.config_class
    if not (isinstance(config, type) and issubclass(config, EncoderConfig | EITConfig)):
        raise ConfigError(
            f"{about}, whose config_class is {config!r}: expected a subclass of foundation.models.EncoderConfig"
        )
    if config.model_type == EncoderConfig.model_type:
        raise ConfigError(
            f"{about}, whose config_class has model_type {config.model_type!r}: expected a subclass of EncoderConfig "
            "with its own model_type"
        )
    taken = inspect.signature(kind.forward).parameters
    needed = [name for name in inspect.signature(Encoder.forward).parameters if name != "self"]
    missing = [name for name in needed if name not in taken]
    if missing and not any(p.kind is inspect.Parameter.VAR_KEYWORD for p in taken.values()):
        raise ConfigError(f"{about}, whose forward does not take {', '.join(missing)}: expected {', '.join(needed)}")


def own_config(name: str, given: dict[str, Any]) -> Any:
    """Return the configuration of your own model, which names its class.

    Args:
        name: of the model, as in ``model.name``.
        given: ``model.settings``, arguments of the configuration.

    Raises:
        ConfigError: if the class cannot be imported, or has no such settings.
    """
    kind = model_class(name)
    register(kind)
    known = _fields(kind.config_class)
    for key in given:
        if key not in known:
            raise ConfigError(f"model.settings has {key!r}: {kind.config_class.__name__} takes {', '.join(known)}")
    with plain_failure(f"model.settings of {name!r}"):
        config = kind.config_class(**given)
    setattr(config, CLASS, class_path(kind))
    return config


def own_model_of(name: str, config: Any) -> PreTrainedModel:
    """Return your own model with random weights.

    Raises:
        ConfigError: if the model cannot be created.
    """
    with plain_failure(f"model.name is {name!r}, which cannot be made"):
        return model_class(name)(config)


def _fields(config: type) -> list[str]:
    """Return the fields that a configuration adds to transformers' own, and the arguments of its ``__init__``."""
    found = [f.name for f in dataclasses.fields(config)]
    for part in config.__mro__[: config.__mro__.index(PretrainedConfig)]:
        if "__init__" in vars(part):
            plain = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
            taken = inspect.signature(vars(part)["__init__"]).parameters.values()
            found += [p.name for p in taken if p.kind in plain and p.name not in ("self", *found)]
    theirs = {f.name for f in dataclasses.fields(PretrainedConfig)}
    return [name for name in found if name not in theirs and name != "preprocessing"]
