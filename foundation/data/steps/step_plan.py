"""The global batch of every step, as a list of windows, from a seed: the same for any number of processes."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np

from foundation.common.errors import ConfigError, StoreError
from foundation.data.steps.data_settings import DataSettings
from foundation.data.steps.segment_starts import draw_start, same_condition
from foundation.data.steps.step_outline import Outline, Outlines, deal
from foundation.data.steps.views import ViewSpec
from foundation.data.windows import WindowTable, to_nanoseconds
from foundation.store.catalog import Catalog
from foundation.store.interval import Interval
from foundation.store.stored import StoredRecording

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class View:
    """One segment: ``n_bins`` bins from ``start`` seconds."""

    start: float
    n_bins: int


@dataclass(frozen=True)
class Window:
    """One item of a batch: some units of one recording in one or more segments of time."""

    recording: str
    units: np.ndarray
    bin_width: float
    views: tuple[View, ...]


class StepPlan:
    """``plan(step)`` is the global batch of a step, a function of seed and step alone.

    Args:
        catalog: the recordings to draw from.
        settings: budget, bin widths and weights.
        spec: the views that the objective asks for.
        bins_per_token: bins that make one token.
        seed: of everything drawn.

    Raises:
        ConfigError: if the budget cannot hold the least number of windows.
        StoreError: if no recording has a window that fits.
    """

    def __init__(
        self, catalog: Catalog, settings: DataSettings, spec: ViewSpec, *, bins_per_token: int, seed: int
    ) -> None:
        self.settings, self.spec, self.bins_per_token, self.seed = settings, spec, bins_per_token, seed
        self.largest = settings.max_units * spec.tokens
        if settings.tokens_per_step < settings.min_windows * self.largest:
            raise ConfigError(
                f"tokens_per_step is {settings.tokens_per_step}: {settings.min_windows} windows (min_windows) of "
                f"{settings.max_units} units (max_units) and {spec.tokens} tokens over all views need "
                f"{settings.min_windows * self.largest}"
            )
        self._records = catalog.records
        self.recordings = tuple(record["id"] for record in catalog.records)
        self._store = catalog.store
        self._domains: dict[int, Interval] = {}
        self._tables: dict[int, dict[str, Interval]] = {}
        n_units_R, seconds_R, resolution_R, interval_R = (
            np.array([record[name] for record in self._records])
            for name in ("n_units", "duration", "resolution", "longest_interval")
        )
        token_W = np.array(settings.bin_widths) * bins_per_token
        longest_RW = ((interval_R[:, None] + 1e-6) / token_W).astype(np.int64)
        fits_RW = (token_W >= resolution_R[:, None] * (1 - 1e-9)) & (longest_RW >= spec.shortest)
        fits_R = fits_RW.any(1)
        self.left_out = [self._records[r]["path"] for r in np.flatnonzero(~fits_R)]
        weight_R = np.where(fits_R & (n_units_R > 0), (n_units_R * seconds_R) ** settings.weight_power, 0.0)
        if not weight_R.sum() > 0:
            raise StoreError(
                f"none of the {len(catalog)} recordings holds a window of {spec.shortest} tokens at bin widths "
                f"{settings.bin_widths} s: give shorter views or other bin widths"
            )
        for path in self.left_out:
            log.warning("%s is left out: no window of %d tokens fits its observed time", path, spec.shortest)
        cumulative_R = np.cumsum(weight_R)
        self.outline = Outlines(
            cumulative_R=cumulative_R / cumulative_R[-1],
            units_R=np.minimum(n_units_R, settings.max_units),
            fits_RW=fits_RW,
            longest_RW=longest_RW,
            shortest=spec.shortest,
            longest=spec.longest,
            views=spec.views + spec.candidates,
            budget=settings.tokens_per_step,
            seed=seed,
        )

    def __call__(self, step: int, rank: int = 0, world: int = 1) -> list[Window]:
        """The windows of a step that one of ``world`` processes has, in order; the whole step is within the budget."""
        return self.draw(step, *self.share(step, rank, world))

    def share(self, step: int, rank: int = 0, world: int = 1) -> tuple[Outline, np.ndarray]:
        """What all windows of a step are, and the numbers of those that one of ``world`` processes has.

        Raises:
            ConfigError: if there are more processes than a step has windows for.
        """
        if not 0 <= rank < world <= self.settings.min_windows:
            raise ConfigError(
                f"rank={rank}, world={world}: need 0 <= rank < world, and no more processes than min_windows, "
                f"{self.settings.min_windows}"
            )
        outline = self.outline(step)
        return outline, np.flatnonzero(deal(outline.cost_M, world) == rank)

    def draw(self, step: int, outline: Outline, numbers: np.ndarray) -> list[Window]:
        """The windows of a step that have these numbers."""
        return [self._draw(step, outline, int(number)) for number in numbers]

    def tables(self, step: int, rank: int = 0, world: int = 1) -> list[WindowTable]:
        """The windows of a step of one of ``world`` processes as flat arrays, a table for each view."""
        outline, numbers = self.share(step, rank, world)
        windows = self.draw(step, outline, numbers)
        units = np.concatenate([w.units for w in windows])
        offsets = np.concatenate([[0], np.cumsum([len(w.units) for w in windows])])
        return [
            WindowTable(
                recording_B=outline.recording_M[numbers],
                start_B=to_nanoseconds(np.array([w.views[k].start for w in windows])),
                n_bins_B=np.array([w.views[k].n_bins for w in windows], dtype=np.int64),
                width_B=to_nanoseconds(np.array([w.bin_width for w in windows])),
                label_B=np.full(len(windows), -1, dtype=np.int64),
                unit_offsets=offsets,
                unit_index=units,
            )
            for k in range(self.spec.views + self.spec.candidates)
        ]

    def _draw(self, step: int, outline: Outline, number: int) -> Window:
        rng = np.random.default_rng([self.seed, step, number, 1])
        index = int(outline.recording_M[number])
        record = self._records[index]
        width = self.settings.bin_widths[outline.width_M[number]]
        domain = self._domain(index)
        grid = max(width, float(record["resolution"]))
        views: list[View] = []
        for place, n_tokens in enumerate(outline.tokens_MV[number].tolist()):
            n_bins = n_tokens * self.bins_per_token
            bound = 0 < place < self.spec.views  # candidates are from anywhere
            near = (views[0].start, self.spec.max_distance) if bound and self.spec.max_distance is not None else None
            taken = self._taken(index, views, width) if bound else None
            views.append(View(self._draw_start(rng, domain, n_bins * width, grid, near, taken), n_bins))
        n_units = int(record["n_units"])
        units = np.arange(n_units)
        if n_units > self.settings.max_units:
            units = np.sort(rng.choice(n_units, self.settings.max_units, replace=False))
        return Window(record["id"], units, width, tuple(views))

    def _taken(self, index: int, views: list[View], width: float) -> Interval | None:
        """Time that the next view of a window leaves out: that of earlier ones, and that under the first's label."""
        taken: list[Interval] = []
        if self.spec.apart:
            taken += [Interval.single(view.start, view.start + view.n_bins * width) for view in views]
        if self.spec.condition is not None:
            middle = views[0].start + views[0].n_bins * width / 2
            same = same_condition(self._intervals(index), self.spec.condition, middle)
            taken += [] if same is None else [same]
        if not taken:
            return None
        return Interval(np.concatenate([t.start for t in taken]), np.concatenate([t.end for t in taken]))

    def _draw_start(
        self,
        rng: np.random.Generator,
        domain: Interval,
        length: float,
        grid: float,
        near: tuple[float, float] | None,
        taken: Interval | None,
    ) -> float:
        """A start; where nothing is near enough one from further away, and where nothing else is left from anywhere."""
        for bound, barred in ((near, taken), (None, taken), (None, None)):
            start = draw_start(rng, domain, length, grid, bound, barred)
            if start is not None:
                return start
        return float(domain.start[np.argmax(domain.end - domain.start)])  # an interval that fits but for rounding

    def _intervals(self, index: int) -> dict[str, Interval]:
        if index not in self._tables:
            table, column = (self.spec.condition or ".").split(".")
            found = StoredRecording(self._store, self._records[index]).intervals.get(table)
            if found is None or column not in found.columns:
                log.info("%s has no %s: its views have whatever condition", self._records[index]["path"], table)
                found = None
            self._tables[index] = {} if found is None else {table: found}
        return self._tables[index]

    def _domain(self, index: int) -> Interval:
        if index not in self._domains:
            self._domains[index] = StoredRecording(self._store, self._records[index]).observed
        return self._domains[index]
