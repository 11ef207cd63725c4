"""Everything that a pretraining run is told."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from foundation.common.errors import ConfigError
from foundation.common.model_checks import check_shape
from foundation.common.setting_checks import check_local, check_range
from foundation.data.steps.data_settings import DataSettings
from foundation.data.steps.step_outline import WINDOWS
from foundation.objectives.objective_settings import ObjectiveSettings
from foundation.training.settings.engine_settings import EngineSettings
from foundation.training.settings.launch_settings import LaunchSettings, host_list
from foundation.training.settings.safety_settings import SafetySettings
from foundation.training.settings.saving_settings import SavingSettings
from foundation.training.settings.validation_settings import ValidationSettings


@dataclass(frozen=True)
class ModelSettings:
    """Shape of the EIT; see `EITConfig`.

    Args:
        dim: features of a token.
        heads: attention heads; ``dim / heads`` must be even.
        individual_layers: layers that see one unit alone, over time.
        interaction_layers: layers in which units see each other, each followed by ``time_layers`` over time.
        time_layers: layers over time after each layer across units.
        mlp_ratio: width of feed-forward layers over ``dim``.
        gated_mlp: feed-forward layers are GEGLU instead of GELU.
        patch_length: bins that make one token.
        dropout: share of each branch's output dropped in training.
        rotary_shortest: seconds, the shortest rotary period.
        rotary_longest: seconds, the longest rotary period.
        rotary_share: share of a head's features that turn with time.
        rotate_values: values turn too, not only queries and keys.
        count_transform: of counts before the read-in: ``log1p``, ``sqrt`` or ``none``.
        value_transform: of sampled activity such as dF/F: ``asinh`` or ``none``.
        inducing_points: units see each other through this many learned points; 0: every unit sees every unit.
    """

    dim: int = 64
    heads: int = 4
    individual_layers: int = 2
    interaction_layers: int = 1
    time_layers: int = 1
    mlp_ratio: float = 4.0
    gated_mlp: bool = False
    patch_length: int = 4
    dropout: float = 0.0
    rotary_shortest: float = 0.04
    rotary_longest: float = 256.0
    rotary_share: float = 1.0
    rotate_values: bool = False
    count_transform: str = "log1p"
    value_transform: str = "asinh"
    inducing_points: int = 0

    def __post_init__(self) -> None:
        check_shape(**asdict(self))

    def config(self) -> Any:
        """Return the model's own configuration, an `EITConfig`, whose module takes seconds to import."""
        from foundation.models.config import EITConfig

        return EITConfig(**asdict(self))


@dataclass(frozen=True)
class OptimizerSettings:
    """AdamW with a linear warm-up and a cosine decay.

    Args:
        learning_rate: the highest rate, reached at the end of the warm-up.
        warmup_steps: steps of the linear warm-up.
        final_share: share of the highest rate at the last step.
        weight_decay: of weight matrices; norms, biases and embeddings have none.
        beta1: decay of the mean gradient.
        beta2: decay of the mean squared gradient.
        clip: the global gradient norm is cut to this.

    Raises:
        ConfigError: if a value is impossible.
    """

    learning_rate: float = 1e-3
    warmup_steps: int = 20
    final_share: float = 0.1
    weight_decay: float = 0.01
    beta1: float = 0.9
    beta2: float = 0.95
    clip: float = 1.0

    def __post_init__(self) -> None:
        check_range(low_too=False, learning_rate=self.learning_rate)
        if not self.clip > 0:  # .inf: nothing is cut
            raise ConfigError(f"clip is {self.clip}: above 0")
        check_range(warmup_steps=self.warmup_steps, weight_decay=self.weight_decay)
        for name in ("beta1", "beta2", "final_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} is {getattr(self, name)}: from 0 to 1")


@dataclass(frozen=True)
class PretrainSettings:
    """What `foundation pretrain` does.

    Args:
        store: the recordings, a folder or URL that `foundation ingest` made.
        output: folder of the run: settings, metrics, checkpoints, and the model at the end.
        steps: training steps.
        seed: of weights, data order and dropout.
        precision: ``fp32`` or ``bf16`` (weights stay fp32, products are bf16).
        deterministic: take only kernels that sum in a fixed order, so that weights are the same on CUDA, bit for bit.
        zero_stage: how DeepSpeed spreads state over processes, 0 to 3.
        processes: processes on this machine, or on each of ``hosts``; more than 1 starts the DeepSpeed launcher.
        hosts: machines to run on, such as ``a,b``, reached by ssh; empty: this one.
        restarts: how often a run that fails is started again from its newest good checkpoint.
        checkpoint_every: steps between checkpoints.
        keep_checkpoints: newest checkpoints kept.
        log_every: steps between two lines of metrics.
        resume: ``auto`` goes on from the newest good checkpoint in ``output``; ``never`` starts anew and removes them,
            once: what starts the run again by itself goes on.
        tracking_uri: where MLflow keeps runs; null: $MLFLOW_TRACKING_URI, or an SQLite file beside ``output``.
        experiment: MLflow experiment.
        model: shape of the model.
        data: which windows a step draws.
        objective: what is learned.
        optimizer: how.
        saving: where checkpoints are kept, and which besides the newest.
        safety: when the run tries again, calls for help, and stops.
        validation: what is measured on recordings that are held out.
        engine: how a step is fitted into memory.
        launching: how the machines of ``hosts`` are reached.

    Raises:
        ConfigError: if a value is impossible.
    """

    store: str
    output: str
    steps: int = 200
    seed: int = 0
    precision: str = "fp32"
    deterministic: bool = False
    zero_stage: int = 0
    processes: int = 1
    hosts: str = ""
    restarts: int = 0
    checkpoint_every: int = 50
    keep_checkpoints: int = 2
    log_every: int = 5
    resume: str = "auto"
    tracking_uri: str | None = None
    experiment: str = "pretrain"
    model: ModelSettings = field(default_factory=ModelSettings)
    data: DataSettings = field(default_factory=DataSettings)
    objective: ObjectiveSettings = field(default_factory=ObjectiveSettings)
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    saving: SavingSettings = field(default_factory=SavingSettings)
    safety: SafetySettings = field(default_factory=SafetySettings)
    validation: ValidationSettings = field(default_factory=ValidationSettings)
    engine: EngineSettings = field(default_factory=EngineSettings)
    launching: LaunchSettings = field(default_factory=LaunchSettings)

    def __post_init__(self) -> None:
        check_local(output=self.output)
        for name in ("steps", "processes", "checkpoint_every", "keep_checkpoints", "log_every"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}: at least 1")
        for name, allowed in (("precision", ("fp32", "bf16")), ("resume", ("auto", "never"))):
            if getattr(self, name) not in allowed:
                raise ConfigError(f"{name} is {getattr(self, name)!r}: one of {', '.join(allowed)}")
        if self.zero_stage not in (0, 1, 2, 3):
            raise ConfigError(f"zero_stage is {self.zero_stage}: 0, 1, 2 or 3")
        if self.seed < 0:
            raise ConfigError(f"seed is {self.seed}: 0 or more")
        if self.engine.offload == "cpu" and not self.zero_stage:
            raise ConfigError("engine.offload is 'cpu': zero_stage 1, 2 or 3 is needed, and it is 0")
        if self.validation.patience and not self.saving.best:
            raise ConfigError("validation.patience needs saving.best: the metric that is to get better")
        if self.restarts < 0:
            raise ConfigError(f"restarts is {self.restarts}: 0 or more")
        machines = max(1, len(host_list(self.hosts)))
        if machines * self.processes > self.data.min_windows:
            on = f" on each of {machines} hosts" if self.hosts else ""
            raise ConfigError(
                f"processes is {self.processes}{on}: at most data.min_windows={self.data.min_windows} in all, so that "
                "each has a window"
            )

    @property
    def needs_launcher(self) -> bool:
        """Whether `foundation pretrain` starts processes of its own for this."""
        return self.processes > 1 or bool(self.hosts) or self.restarts > 0

    def identity(self) -> dict[str, Any]:
        """What decides the weights that come out: a resumed run must have the same."""
        whole = asdict(self)
        whole["data"] = {k: v for k, v in whole["data"].items() if k not in ("cache_bytes", "prefetch", "workers")}
        names = ("steps", "seed", "precision", "model", "data", "objective", "optimizer")
        return {name: whole[name] for name in names} | {"windows": WINDOWS}
