"""Settings of the table of firing modes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from finetune.reproduce.neurpir.step_rule import StepRule
from foundation.common.errors import ConfigError
from foundation.common.settings.setting_limits import Count, CountOrNone, Limited

FIXED = ("isi", "pca", "oracle")  # deterministic rows: one run, seed 0
ABLATIONS = (
    "neurpir-no-cebra",
    "neurpir-no-variance",
    "neurpir-no-covariance",
    "neurpir-no-surround",
    "neurpir-fixed-length",
)
ROWS = (*FIXED, "lolcat", "nuclr", "nuclr-released", "neurpir", *ABLATIONS)


@dataclass(frozen=True)
class FiringEncoder(Limited):
    """The encoder of all objectives, its inputs and its readout.

    Args:
        dim: features of a token, and of a unit's embedding.
        heads: attention heads.
        individual_layers: layers over time within one unit.
        interaction_layers: layers across units.
        patch_length: bins of a token.
        bin_width: seconds.
        max_units: maximum units of a window.
        windows: minimum windows of a step; more if they fit in the same number of tokens.
        tokens: length of NuCLR's views and of embedded windows.
        projector: widths of NeurPIR's projector, instead of its config's; empty: the config's.
        cebra_iterations: steps of CEBRA's training, instead of NeurPIR's config's; null: the config's.
        learning_rate: of AdamW, instead of the config's; null: the config's.
        looks: windows per network for evaluations on held-out networks; at the end all are used.

    Raises:
        ConfigError: if a value is invalid.
    """

    dim: int = 64
    heads: int = 4
    individual_layers: int = 2
    interaction_layers: int = 0
    patch_length: int = 20
    bin_width: float = 0.005
    max_units: Count = 50
    windows: Count = 2
    tokens: Count = 20
    projector: list[int] = field(default_factory=lambda: [256, 256, 256])
    cebra_iterations: CountOrNone = 200
    learning_rate: float | None = 3e-3
    looks: Count = 8

    def model(self) -> Any:
        """Return a new `EIT` initialised from torch's seed."""
        from foundation.models import EIT, EITConfig

        return EIT(
            EITConfig(
                dim=self.dim,
                heads=self.heads,
                individual_layers=self.individual_layers,
                interaction_layers=self.interaction_layers,
                patch_length=self.patch_length,
            )
        )


@dataclass(frozen=True)
class NeurPIRTable(Limited):
    """Runs of the table of firing modes to make.

    Args:
        levels: difficulty -> prefix of its networks' names.
        rows: of every level: ``isi``, ``pca``, ``oracle`` (the parameters themselves), ``lolcat``, and names of
            ``objective/...`` configs: ``nuclr``, ``neurpir`` and its ablations.
        seeds: of weights and batches; one run of every row per seed.
        ablations: additional rows for one level.
        ablation_level: that level.
        ablation_seeds: their seeds.
        test: test networks of each level, the last ones.
        held: training networks held out for the rule, the last ones.
        threads: of torch.
        rule: the rule for the number of steps.
        encoder: of all objectives.

    Raises:
        ConfigError: if a value is invalid.
    """

    levels: dict[str, str] = field(
        default_factory=lambda: {name: f"{name}net" for name in ("jitter0", "jitter10", "jitter20", "shift20")}
    )
    rows: list[str] = field(default_factory=lambda: [*FIXED, "lolcat", "nuclr", "neurpir"])
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2, 3, 4])
    ablations: list[str] = field(default_factory=lambda: list(ABLATIONS))
    ablation_level: str = "jitter10"
    ablation_seeds: list[int] = field(default_factory=lambda: [0, 1, 2])
    test: Count = 6
    held: Count = 2
    threads: Count = 1
    rule: StepRule = field(default_factory=StepRule)
    encoder: FiringEncoder = field(default_factory=FiringEncoder)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("rows", "ablations"):
            unknown = sorted(set(getattr(self, name)) - set(ROWS))
            if unknown:
                raise ConfigError(f"{name} has {unknown[0]!r}: one of {', '.join(ROWS)}")
        if not self.levels:
            raise ConfigError("levels is empty: expected a name and the prefix of the networks' names")
        if self.ablations and self.ablation_level not in self.levels:
            raise ConfigError(f"ablation_level is {self.ablation_level!r}: one of {', '.join(self.levels)}")
        if not self.seeds or min([*self.seeds, *self.ablation_seeds]) < 0:
            raise ConfigError(f"seeds is {self.seeds}: one or more, each 0 or more")
