"""Settings of `foundation reproduce sorting`. Quick to import."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from foundation.common.errors import ConfigError
from foundation.common.settings.setting_checks import check_local
from foundation.common.settings.setting_limits import Count, Limited, Share, above, between
from ingest.sorting.clustering.cluster_settings import RECIPES, ClusterSettings
from ingest.sorting.simulation.simulated_voltage_settings import SessionSettings

KNOWN = "known"  # the row with each unit's true mean waveform
ROWS = (*RECIPES, KNOWN)
TASKS = ("notebook", "detected", "templates", "drift", "bursts", "files")


@dataclass(frozen=True)
class SortingTable(Limited):
    """Runs to make and output of their results.

    Args:
        output: folder of the tables, a JSON Lines file for each task.
        page: the page to write; null: none.
        tasks: ``notebook``: spikes at their true times, of units above ``min_snr`` alone, as the report's notebooks
            have it. ``detected``: detection included, all units. ``templates``: the same with mean waveforms of real
            units, from ``files``, in place of the parametric family. ``drift`` and ``bursts``: the sessions of
            ``detected`` with amplitudes that drift, or with units that fire bursts. ``files``: labelled spikes in
            ``files``.
        rows: recipes, and `known`, which is given each unit's mean waveform: what is possible.
        seeds: of test sessions, training sessions, weights and starts.
        test_units: numbers of units of the test sessions, one session of each for every seed.
        train_units: numbers of units of the training sessions, of other seeds, for recipes that train before.
        session: of all sessions.
        min_snr: units above it are counted in the headline figures.
        threshold: detection threshold in units of median(|x|) / 0.6745.
        drift: of the task ``drift``: maximum relative change of a unit's amplitude over the session.
        bursting: of the task ``bursts``: share of the units that fire bursts.
        files: .npz files of labelled spikes; missing files are skipped.
        clustering: options of the recipes.

    Raises:
        ConfigError: if a value is invalid.
    """

    output: str = "results/sorting"
    page: str | None = "docs/results/sorting.md"
    tasks: list[str] = field(default_factory=lambda: list(TASKS))
    rows: list[str] = field(default_factory=lambda: list(ROWS))
    seeds: list[int] = field(default_factory=lambda: [0, 1])
    test_units: list[int] = field(default_factory=lambda: [2, 5, 9, 13, 17, 20])
    train_units: list[int] = field(default_factory=lambda: [4, 10, 16])
    session: SessionSettings = field(default_factory=SessionSettings)
    min_snr: Annotated[float, above(0)] = 4.0
    threshold: Annotated[float, above(0)] = 4.0
    drift: Annotated[float, between(0, 0.9)] = 0.3
    bursting: Share = 0.5
    files: list[str] = field(default_factory=list)
    clustering: ClusterSettings = field(default_factory=lambda: ClusterSettings(max_fit=3000, max_epoch=4000))
    threads: Count = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_local(output=self.output)
        for name, allowed in (("tasks", TASKS), ("rows", ROWS)):
            unknown = sorted(set(getattr(self, name)) - set(allowed))
            if unknown:
                raise ConfigError(f"{name} has {unknown[0]!r}: expected one of {', '.join(allowed)}")
        for name in ("test_units", "train_units"):
            units = getattr(self, name)
            if not units or min(units) < 1:
                raise ConfigError(f"{name} is {units}: expected one or more numbers, each at least 1")
        if not self.seeds or min(self.seeds) < 0:
            raise ConfigError(f"seeds is {self.seeds}: expected one or more, each 0 or more")
