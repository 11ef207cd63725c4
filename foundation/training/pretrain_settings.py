"""Settings of `foundation pretrain`, one dataclass per section of a YAML file; imports quickly, without torch."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any

from foundation.common.errors import ConfigError
from foundation.common.settings.renamed_settings import former_names
from foundation.common.settings.setting_checks import check_local
from foundation.common.settings.setting_limits import (
    Count,
    Limited,
    Natural,
    Seconds,
    Share,
    above,
    between,
    finite,
    one_of,
)
from foundation.data.steps.data_settings import WINDOWS, DataSettings
from foundation.objectives.objective_settings import ObjectiveSettings
from foundation.training.model_settings import ModelSettings

HOST = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9_.-]*(@[A-Za-z0-9_][A-Za-z0-9_.-]*)?$")


@dataclass(frozen=True)
class OptimizerSettings(Limited):
    """AdamW with a linear warm-up and a cosine decay.

    Args:
        learning_rate: the highest rate, reached at the end of the warm-up.
        warmup_steps: steps of the linear warm-up.
        final_share: share of the highest rate at the last step.
        weight_decay: weight decay of weight matrices; norms, biases and embeddings have none.
        beta1: decay of the mean gradient.
        beta2: decay of the mean squared gradient.
        clip: maximum of the global gradient norm.

    Raises:
        ConfigError: if a value is invalid.
    """

    learning_rate: Annotated[float, finite(low_too=False)] = 1e-3
    warmup_steps: Annotated[int, finite()] = 20
    final_share: Share = 0.1
    weight_decay: Annotated[float, finite()] = 0.01
    beta1: Share = 0.9
    beta2: Share = 0.95
    clip: Annotated[float, above(0)] = 1.0  # .inf: no clipping


@dataclass(frozen=True)
class EngineSettings(Limited):
    """How a step is fitted into the memory of a device; these settings do not change the learned weights.

    Args:
        offload: ``cpu`` keeps and updates the optimiser's state in CPU memory (ZeRO 1 to 3); ``none`` does not.
        activation_checkpointing: recompute each block of the encoder in the backward pass.
        accumulate: number of parts in which the encoder processes the windows of a step. Losses couple the windows, so
    the embeddings of all parts are kept for one loss, and each part is recomputed in the backward pass: the
    gradient is that of the whole step. Encoders with a batch norm need 1.

    Raises:
        ConfigError: if a value is invalid.
    """

    section = "engine."
    offload: Annotated[str, one_of("none", "cpu")] = "none"
    activation_checkpointing: bool = False
    accumulate: Count = 1


@dataclass(frozen=True)
class SavingSettings(Limited):
    """How checkpoints are written and which are kept besides the newest ones (``keep_checkpoints``).

    Args:
        place: a folder or fsspec URL (``s3://...``) that all machines share; null: ``checkpoints`` in the output.
        asynchronous: write in a thread while training continues; training waits only while the state is copied.
        keep_hours: also keep one checkpoint for every period of this many hours; 0: none.
        best: also keep the checkpoint with the best value of this metric, such as ``validation/loss``; empty: none.
        highest: the best value is the highest, not the lowest.
        patience: seconds to wait for the other processes' parts of a checkpoint.

    Raises:
        ConfigError: if a value is invalid.
    """

    place: str | None = None
    asynchronous: bool = True
    keep_hours: Annotated[float, finite()] = 0.0
    best: str = ""
    highest: bool = False
    patience: Seconds = 600.0


@dataclass(frozen=True)
class SafetySettings(Limited):
    """When a run retries, when it writes stack traces, and when it stops.

    Args:
        max_skipped: steps in a row that may be skipped because the loss or a gradient is not finite, or because too
            few units were active to compare; one more stops the run.
        retries: how often a failed read of data, or a failed read or write of a checkpoint, is tried again.
        pause: seconds before the first retry; each further pause is twice as long.
        watchdog_factor: a step that takes this many times the median step has every process write its stack to the
            folder ``stacks``; 0: never.
        watchdog_seconds: steps shorter than this never count as hanging.
        timeout: seconds after which processes stop waiting for one that does not answer.
        joining: seconds after which a process exits at the start of a run if the others have not all joined.

    Raises:
        ConfigError: if a value is invalid.
    """

    max_skipped: Annotated[int, finite()] = 10
    retries: Annotated[int, finite()] = 3
    pause: Annotated[float, finite()] = 1.0
    watchdog_factor: Annotated[float, finite()] = 20.0
    watchdog_seconds: Seconds = 60.0
    timeout: Seconds = 1800.0
    joining: Seconds = 300.0


@dataclass(frozen=True)
class ValidationSettings(Limited):
    """Validation on held-out recordings: the objective's loss, and a linear probe on frozen embeddings.

    Args:
        every: steps between two validations; 0: none.
        held_out: query for the recordings to hold out of training, as in `foundation catalog --where`:
            ``subject == 'm3'``.
        steps: number of steps whose windows the held-out loss is averaged over.
        label: column of the units table that a linear probe predicts from unit embeddings, for example ``cell_type``;
            fitted on units of training recordings, scored on held-out ones; empty: no probe.
        recordings: the probe uses at most this many recordings on either side.
        windows: windows averaged per recording.
        bin_width: seconds of a bin for the probe.
        tokens: tokens of the probe's windows.
        patience: stop after this many validations in which ``saving.best`` did not improve; 0: never.

    Raises:
        ConfigError: if a value is invalid.
    """

    section = "validation."
    every: Natural = 0
    held_out: str = ""
    steps: Count = 4
    label: str = ""
    recordings: Count = 8
    windows: Count = 16
    bin_width: Seconds = 0.005
    tokens: Count = 16
    patience: Natural = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.every and not self.held_out:
            raise ConfigError(
                "validation.held_out is empty: expected a condition that chooses the recordings to validate on"
            )


@dataclass(frozen=True)
class LaunchSettings(Limited):
    """How the machines of a run are reached; the results do not depend on it.

    Args:
        ssh_port: port of the machines' ssh servers; null: the one in ssh's own configuration.
        address: rendezvous address, on the first machine; empty: its first one (``hostname -I``).
        port: TCP port of the rendezvous; each restart takes the next one.
        patience: seconds to wait for a machine's answer before anything is started.

    Raises:
        ConfigError: if a value is invalid.
    """

    section = "launching."
    ssh_port: Annotated[int | None, between(1, 65535)] = None
    address: str = ""
    port: Annotated[int, between(1, 65535)] = 29500
    patience: Seconds = 60.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.address and not re.fullmatch(r"[A-Za-z0-9_.:-]+", self.address):
            raise ConfigError(f"launching.address is {self.address!r}: expected a host name or an IP address")


def host_list(hosts: str) -> list[str]:
    """Return the machines of a list such as ``a,b``.

    Raises:
        ConfigError: if a host name is invalid, or is listed twice.

    Example:
        >>> host_list("a, someone@b")
        ['a', 'someone@b']
    """
    names = [name.strip() for name in hosts.split(",")] if hosts.strip() else []
    for name in names:
        if not HOST.match(name):
            raise ConfigError(
                f"hosts is {hosts!r}: expected names or addresses with commas between, such as a,b or me@10.0.0.2"
            )
    if len(set(names)) < len(names):
        raise ConfigError(f"hosts is {hosts!r}: expected each machine once; `processes` says how many run on each")
    return names


@dataclass(frozen=True)
class PretrainSettings(Limited):
    """Settings of `foundation pretrain`.

    Args:
        store: folder or URL of the recordings, made by `foundation ingest`.
        output: folder of the run: settings, metrics, checkpoints, and the model at the end.
        steps: training steps.
        seed: seed of weights, data order and dropout.
        precision: ``fp32`` or ``bf16`` (weights stay fp32, products are bf16).
        deterministic: use only kernels that sum in a fixed order, so that weights on CUDA are equal bit for bit.
        zero_stage: how DeepSpeed partitions state over processes, 0 to 3.
        processes: processes on this machine, or on each of ``hosts``; more than 1 starts the DeepSpeed launcher.
        hosts: machines to run on, such as ``a,b``, reached by ssh; empty: this one.
        restarts: how often a failed run is restarted from its newest intact checkpoint.
        checkpoint_every: steps between checkpoints.
        keep_checkpoints: how many of the newest checkpoints are kept.
        log_every: steps between two lines of metrics.
        resume: ``auto`` resumes from the newest intact checkpoint in ``output``; ``never`` removes the checkpoints and
            starts from step 0, once: an automatic restart (``restarts``, torchrun, Slurm) resumes.
        tracking_uri: where MLflow keeps runs; null: $MLFLOW_TRACKING_URI, or an SQLite file beside ``output``.
        experiment: MLflow experiment.
        model: shape of the model.
        data: windows of a step.
        objective: the loss, and its settings.
        optimizer: learning rate and the rest of AdamW.
        saving: where checkpoints are written, and which are kept besides the newest.
        safety: when the run retries, writes stack traces, and stops.
        validation: what is measured on held-out recordings.
        engine: how a step is fitted into memory.
        launching: how the machines of ``hosts`` are reached.

    Raises:
        ConfigError: if a value is invalid.
    """

    store: str
    output: str
    steps: Count = 200
    seed: Natural = 0
    precision: Annotated[str, one_of("fp32", "bf16")] = "fp32"
    deterministic: bool = False
    zero_stage: Annotated[int, one_of(0, 1, 2, 3)] = 0
    processes: Count = 1
    hosts: str = ""
    restarts: Natural = 0
    checkpoint_every: Count = 50
    keep_checkpoints: Count = 2
    log_every: Count = 5
    resume: Annotated[str, one_of("auto", "never")] = "auto"
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
        super().__post_init__()
        check_local(output=self.output)
        if self.engine.offload == "cpu" and not self.zero_stage:
            raise ConfigError("engine.offload is 'cpu' and engine.zero_stage 0: expected zero_stage 1, 2 or 3")
        if self.validation.patience and not self.saving.best:
            raise ConfigError("validation.patience needs saving.best, the metric that has to improve")
        weights = self.objective.weights or {}
        for name in self.data.own_windows:
            if name not in weights or len(self.data.own_windows) == len(weights):
                raise ConfigError(
                    f"data.own_windows names {name!r} and objective.weights {sorted(weights)}: expected objectives "
                    "that are summed, and at least one more that reads the windows described in data"
                )
        machines = max(1, len(host_list(self.hosts)))
        fewest = min(d.min_windows for d in (self.data, *map(self.data.of, self.data.own_windows)))
        if machines * self.processes > fewest:
            on = f" on each of {machines} hosts" if self.hosts else ""
            raise ConfigError(
                f"processes is {self.processes}{on}: expected at most data.min_windows={fewest} in all, so that each "
                "has a window"
            )

    @property
    def needs_launcher(self) -> bool:
        """True if `foundation pretrain` must start several processes."""
        return self.processes > 1 or bool(self.hosts) or self.restarts > 0

    def identity(self) -> dict[str, Any]:
        """Return the settings that decide the weights; a resumed run must have the same."""
        whole = former_names(PretrainSettings, asdict(self))
        whole["data"] = {k: v for k, v in whole["data"].items() if k not in ("cache_bytes", "prefetch", "workers")}
        # Newer settings are left out if a run does not use them, so that earlier runs can be resumed.
        if not self.model.population_layers:
            del whole["model"]["population_layers"], whole["model"]["causal"]
        if not self.model.made_rows:
            del whole["model"]["made_rows"]
        if not self.objective.masked.made_windows:
            del whole["objective"]["masked"]["made_windows"]
        if self.model.tokens == "bins":
            del whole["model"]["tokens"]
        if self.objective.neurpir.loss == "vicreg":
            del whole["objective"]["neurpir"]["loss"], whole["objective"]["neurpir"]["temperature"]
        if not self.model.is_own:
            del whole["model"]["name"], whole["model"]["settings"]
        if not self.objective.settings:
            del whole["objective"]["settings"]
        if "decoding" not in (self.objective.weights or [self.objective.name]):
            del whole["objective"]["decoding"]
        if "masked" not in (self.objective.weights or [self.objective.name]):
            del whole["objective"]["masked"]
        if not self.data.sampler.name:
            del whole["data"]["sampler"]
        if not self.data.held_out_time:
            del whole["data"]["held_out_time"], whole["data"]["held_out_gap"]
        if not self.data.own_windows:
            del whole["data"]["own_windows"]
        if self.data.min_units == 1:
            del whole["data"]["min_units"]
        if not self.data.unit_power:
            del whole["data"]["unit_power"]
        for own in whole["data"].get("own_windows", {}).values():
            for name in ("min_units", "weight_power", "unit_power"):
                if own[name] is None:
                    del own[name]
        if not self.model.population_patch_length:
            del whole["model"]["population_patch_length"]
        names = ("steps", "seed", "precision", "model", "data", "objective", "optimizer")
        rows = {"population_rows": "by recording id"} if self.model.population_layers else {}
        return {name: whole[name] for name in names} | {"windows": WINDOWS} | rows
