"""What the table of firing modes can be told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from finetune.reproduce.neurpir.step_rule import StepRule
from foundation.common.errors import ConfigError
from foundation.common.settings.setting_limits import Count, CountOrNone, Limited

FIXED = ("isi", "pca", "oracle")  # nothing in them is drawn: one run, seed 0
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
    """The encoder of all objectives, how it is fed, and how its frozen embeddings are read.

    Args:
        dim: features of a token, and of a unit's embedding.
        heads: attention heads.
        individual_layers: layers that see one unit alone, over time.
        interaction_layers: layers in which units see each other.
        patch_length: bins of a token.
        bin_width: seconds.
        max_units: units of a window at most.
        windows: windows of a step at least; as many more as fit in the same number of tokens.
        tokens: of a view of NuCLR, and of the windows that are embedded.
        projector: widths of NeurPIR's projector, in place of those of its config; empty: those.
        cebra_iterations: steps of CEBRA's training, in place of those of NeurPIR's config; null: those.
        learning_rate: of AdamW, in place of the config's; null: that.
        looks: windows of a network that are embedded when the held-out networks are looked at; at the end all are.

    Raises:
        ConfigError: if a value is impossible.
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
        """Return a new `EIT`, from torch's seed."""
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
    """Which runs of the table of firing modes are made.

    Args:
        levels: difficulty -> what the names of its networks begin with.
        rows: of every level: ``isi``, ``pca``, ``oracle`` (the parameters themselves), ``lolcat``, and names of
            ``objective/...`` configs: ``nuclr``, ``neurpir`` and its ablations.
        seeds: of weights and batches; each makes a run of every row.
        ablations: further rows, of one level.
        ablation_level: that level.
        ablation_seeds: their seeds.
        test: networks of each level that are tested, the last ones.
        held: networks held out of the others for the rule, the last ones.
        threads: of torch.
        rule: how long a model trains.
        encoder: of all objectives.

    Raises:
        ConfigError: if a value is impossible.
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
            raise ConfigError("levels is empty: give a name and what the networks' names begin with")
        if self.ablations and self.ablation_level not in self.levels:
            raise ConfigError(f"ablation_level is {self.ablation_level!r}: one of {', '.join(self.levels)}")
        if not self.seeds or min([*self.seeds, *self.ablation_seeds]) < 0:
            raise ConfigError(f"seeds is {self.seeds}: one or more, each 0 or more")
