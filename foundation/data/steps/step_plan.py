"""The global batch of every step, as a list of windows drawn from a seed: the same for any number of processes.

The budget of a step depends only on recording, bin width and lengths of its windows. These are drawn for the windows
of all processes together, in arrays (`Outline`). Each process then draws start and units of its own windows only.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np

from foundation.common.errors import ConfigError, StoreError
from foundation.common.extensions.named_classes import plain_failure
from foundation.data.covariate_settings import SurroundSettings
from foundation.data.steps.data_settings import DataSettings
from foundation.data.steps.held_out_time import training_time
from foundation.data.steps.step import StepWindows
from foundation.data.steps.step_outline import Outline, Outlines, deal
from foundation.data.steps.views import ViewSpec, draw_cut, draw_start, same_condition
from foundation.data.windows import WindowTable, to_nanoseconds
from foundation.store.catalog import Catalog
from foundation.store.catalog_row import CatalogRows
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
    """The sampler of pretraining: ``plan(step)`` is the global batch of a step, a function of seed and step alone.

    Your own sampler is a subclass that overrides only `chances` (how often a recording is drawn) or `times` (which
    time of a recording is used): ``--data.sampler.name mylab.sampling:Class`` trains with it. Both methods must always
    return the same values, because every process and every worker of a loader calls them.

    Attributes:
        settings_class: dataclass of the settings of your own sampler; `own` holds an instance.

    Args:
        catalog: the recordings to draw from.
        settings: budget, bin widths and weights.
        spec: the views that the objective needs.
        bins_per_token: bins that make one token.
        seed: of all draws.
        spike_times: draw only recordings with spike times no coarser than a bin, as tokens of intervals require.
        own: settings of your own sampler.

    Raises:
        ConfigError: if the budget cannot hold the minimum number of windows, or if held-out time leaves no window of a
            recording or is combined with surrounding information.
        StoreError: if no recording has a window that fits.

    Example:
        >>> class OneSubject(StepPlan):
        ...     def chances(self, chance_R):
        ...         return np.where(np.array(self.records.texts("subject")) == "mouse1", chance_R, 0.0)
        >>> class Trials(StepPlan):
        ...     def times(self, recording, observed):
        ...         return recording.intervals["trials"] if "trials" in recording.intervals else observed
    """

    settings_class: type | None = None

    def __init__(
        self,
        catalog: Catalog,
        settings: DataSettings,
        spec: ViewSpec,
        *,
        bins_per_token: int,
        seed: int,
        spike_times: bool = False,
        own: Any = None,
    ) -> None:
        self.own = own
        self.settings, self.spec, self.bins_per_token, self.seed = settings, spec, bins_per_token, seed
        self.surround: SurroundSettings | None = spec.surround
        self.steps_together: int | None = None
        self.largest = settings.max_units * spec.tokens
        if settings.tokens_per_step < settings.min_windows * self.largest:
            raise ConfigError(
                f"tokens_per_step is {settings.tokens_per_step}: {settings.min_windows} windows (min_windows) of "
                f"{settings.max_units} units (max_units) and {spec.tokens} tokens over all views need "
                f"{settings.min_windows * self.largest}"
            )
        self._records = catalog.records
        self.recordings = tuple(catalog.ids)
        self._store = catalog.store
        self._domains: dict[int, Interval] = {}
        self._times: dict[int, Interval] = {}  # of `times`
        self._tables: dict[int, dict[str, Interval]] = {}
        n_units_R, seconds_R, resolution_R, interval_R = (
            self._records.numbers(name) for name in ("n_units", "duration", "resolution", "longest_interval")
        )
        self._n_units_R, self._resolution_R = n_units_R, resolution_R
        token_W = np.array(settings.bin_widths) * bins_per_token
        fine_RW = np.ones((len(catalog), len(token_W)), dtype=bool)
        if spike_times:
            fine_RW = resolution_R[:, None] <= np.array(settings.bin_widths) * (1 + 1e-9)
            fine_RW &= np.array(self._records.texts("kind"))[:, None] == "spikes"
        fits_RW, longest_RW = _fits(token_W, resolution_R, interval_R, spec)
        fits_RW &= fine_RW
        if settings.held_out_time:
            seconds_R, interval_R = self._hold_out(seconds_R.copy(), interval_R.copy(), token_W, fits_RW)
            fits_RW, longest_RW = _fits(token_W, resolution_R, interval_R, spec)
            fits_RW &= fine_RW
        fits_R = np.asarray(fits_RW.any(axis=1))
        self.left_out = self._records.select(~fits_R).texts("path")
        many_R = n_units_R >= settings.min_units
        if fits_R.any() and not (fits_R & many_R).any():
            log.warning("all recordings have fewer than min_units = %d units, so min_units is ignored",
                        settings.min_units)  # fmt: skip
            many_R = np.ones_like(many_R)
        weight_R = (n_units_R * seconds_R) ** settings.weight_power * np.maximum(n_units_R, 1.0) ** settings.unit_power
        weight_R = self._chosen(np.where(fits_R & many_R & (n_units_R > 0), weight_R, 0.0))
        if not weight_R.sum() > 0:
            raise StoreError(
                f"none of the {len(catalog)} recordings holds a window of {spec.min_tokens} tokens at bin widths "
                f"{settings.bin_widths} s{', and spike times as fine' if spike_times else ''}: give shorter views or "
                "other bin widths"
            )
        for path in self.left_out:
            why = ", or it has no spike times as fine as a bin" if spike_times else ""
            log.warning("%s is left out: no window of %d tokens fits its observed time%s", path, spec.min_tokens, why)
        if few := int((fits_R & ~many_R).sum()):
            log.info("%d of %d recordings have fewer than min_units = %d units and are not drawn", few, len(fits_R),
                     settings.min_units)  # fmt: skip
        cumulative_R = np.cumsum(weight_R)
        self.outline = Outlines(
            cumulative_R=cumulative_R / cumulative_R[-1],
            units_R=np.minimum(n_units_R, settings.max_units),
            fits_RW=fits_RW,
            longest_RW=longest_RW,
            min_tokens=spec.min_tokens,
            max_tokens=spec.max_tokens,
            views=spec.views + spec.candidates,
            budget=settings.tokens_per_step,
            seed=seed,
        )

    @property
    def records(self) -> CatalogRows:
        """Rows of the catalog, one per recording: ``records.texts("subject")``, ``records.numbers("n_units")``."""
        return self._records

    def chances(self, chance_R: np.ndarray) -> np.ndarray:
        """Return relative probabilities of the recordings; your own sampler may override this.

        Args:
            chance_R: ``(R,)`` by size (``weight_power``); 0 where no window fits.
        """
        return chance_R

    def times(self, recording: StoredRecording, observed: Interval) -> Interval:
        """Return the time that windows are drawn from; your own sampler may restrict it.

        If no interval of it holds a window, the window starts at the beginning of the longest and extends beyond it.

        Args:
            recording: a recording of the store.
            observed: its observed time without held-out time.
        """
        return observed

    def _chosen(self, weight_R: np.ndarray) -> np.ndarray:
        """Return `chances`, checked, with 0 for recordings that fit no window.

        Raises:
            ConfigError: unless it returns a finite number of 0 or more for each recording.
        """
        if type(self).chances is StepPlan.chances:
            return weight_R
        with plain_failure(f"chances of {type(self).__name__} fails"):
            chosen_R = np.asarray(self.chances(weight_R.copy()), dtype=np.float64)
        if chosen_R.shape != weight_R.shape or not np.isfinite(chosen_R).all() or (chosen_R < 0).any():
            raise ConfigError(
                f"chances of {type(self).__name__} gave {chosen_R}: expected {len(weight_R)} finite numbers of 0 or "
                "more, one a recording"
            )
        return np.where(weight_R > 0, chosen_R, 0.0)

    def _hold_out(
        self, seconds_R: np.ndarray, interval_R: np.ndarray, token_W: np.ndarray, fits_RW: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Exclude held-out time; return the remaining length of each recording and of its longest interval.

        Raises:
            ConfigError: if the views have surrounding information, or a recording has no window left.
        """
        settings, spec = self.settings, self.spec
        if spec.surround is not None:
            raise ConfigError(
                f"data.held_out_time names {len(settings.held_out_time)} recordings: expected none if the objective "
                "has surrounding information (surround), which is fitted to whole recordings"
            )
        names = list(settings.held_out_time)
        for name, index in zip(names, self._records.places(names).tolist(), strict=True):
            if index < 0 or not fits_RW[index].any():  # entirely held out, or too short for a window in any case
                continue
            longest = min(float(interval_R[index]), float(token_W[fits_RW[index]].max()) * spec.max_tokens)
            gap = longest if settings.held_out_gap is None else settings.held_out_gap
            recording = StoredRecording(self._store, self._records[index])
            left = training_time(recording, settings.held_out_time[name], gap)
            seconds_R[index], interval_R[index] = left.duration, (left.end - left.start).max(initial=0.0)
            if interval_R[index] < token_W[fits_RW[index]].min() * spec.min_tokens - 1e-6:
                raise ConfigError(
                    f"data.held_out_time leaves no window of {spec.min_tokens} tokens of {recording.record.path}, with "
                    f"{gap:g} s between the two: hold out less, lower data.held_out_gap, or hold out the recording "
                    "(validation.held_out)"
                )
            self._domains[index] = left
        return seconds_R, interval_R

    def plan(self, batch_size: int | None = None) -> StepPlan:
        """Return itself.

        Raises:
            ConfigError: if a batch size is given: the budget determines the number of windows of a step.
        """
        if batch_size is not None:
            raise ConfigError(
                f"batch_size is {batch_size}: expected None, as a StepPlan fills each step to tokens_per_step"
            )
        return self

    def check(self, records: CatalogRows, rank: int, world: int) -> None:
        """Raise ConfigError if ``world`` processes cannot share a step."""
        if not 0 <= rank < world <= self.settings.min_windows:
            raise ConfigError(
                f"rank is {rank} and world {world}: expected 0 <= rank < world, and at most as many processes as "
                f"min_windows, {self.settings.min_windows}; raise min_windows for more processes"
            )

    def epoch(self) -> None:
        """Return None: steps continue endlessly."""

    def __call__(self, step: int, rank: int = 0, world: int = 1) -> list[Window]:
        """Return one process's windows of a step, in order; the whole step is within the budget."""
        return self.draw(step, *self.share(step, rank, world))

    def share(self, step: int, rank: int = 0, world: int = 1) -> tuple[Outline, np.ndarray]:
        """Return the outline of a step, and the numbers of one process's windows.

        Raises:
            ConfigError: if there are more processes than windows in a step.
        """
        self.check(self._records, rank, world)
        outline = self.outline(step)
        return outline, np.flatnonzero(deal(outline.cost_M, world) == rank)

    def draw(self, step: int, outline: Outline, numbers: np.ndarray) -> list[Window]:
        """Return the windows of a step with these numbers."""
        return [self._draw(step, outline, int(number)) for number in numbers]

    def windows(self, step: int, rank: int = 0, world: int = 1) -> StepWindows:
        """Draw one process's windows of a step, of ``world`` processes."""
        outline, numbers = self.share(step, rank, world)
        drawn = self.draw(step, outline, numbers)
        start_VB = np.array([[view.start for view in window.views] for window in drawn]).T
        n_bins_VB = np.array([[view.n_bins for view in window.views] for window in drawn], dtype=np.int64).T
        width_B = np.array([window.bin_width for window in drawn])
        units = np.concatenate([window.units for window in drawn])
        offsets = np.concatenate([[0], np.cumsum([len(window.units) for window in drawn])])
        tables = [
            WindowTable(
                recording_B=outline.recording_M[numbers],
                start_B=to_nanoseconds(start_B),
                n_bins_B=n_bins_B,
                width_B=to_nanoseconds(width_B),
                label_B=np.full(len(drawn), -1, dtype=np.int64),
                unit_offsets=offsets,
                unit_index=units,
            )
            for start_B, n_bins_B in zip(start_VB, n_bins_VB, strict=True)
        ]
        return StepWindows(step, numbers, tables, start_VB, n_bins_VB * width_B)

    def _draw(self, step: int, outline: Outline, number: int) -> Window:
        rng = np.random.default_rng([self.seed, step, number, 1])
        index = int(outline.recording_M[number])
        width = self.settings.bin_widths[outline.width_M[number]]
        domain = self._domain(index)
        grid = max(width, float(self._resolution_R[index]))
        views: list[View] = []
        for place, n_tokens in enumerate(outline.tokens_MV[number].tolist()):
            if self.spec.cut and not place:
                drawn = draw_cut(rng, domain, n_tokens, self.spec.min_tokens, width * self.bins_per_token, grid)
                if drawn is not None:
                    views.append(View(drawn[0], drawn[1] * self.bins_per_token))
                    continue
            n_bins = n_tokens * self.bins_per_token
            bound = 0 < place < self.spec.views  # candidates come from anywhere
            near = (views[0].start, self.spec.max_distance) if bound and self.spec.max_distance is not None else None
            taken = self._taken(index, views, width) if bound else None
            views.append(View(self._draw_start(rng, domain, n_bins * width, grid, near, taken), n_bins))
        n_units = int(self._n_units_R[index])
        units = np.arange(n_units)
        if n_units > self.settings.max_units:
            units = np.sort(rng.choice(n_units, self.settings.max_units, replace=False))
        return Window(self.recordings[index], units, width, tuple(views))

    def _taken(self, index: int, views: list[View], width: float) -> Interval | None:
        """Return the time excluded from the next view: that of earlier views, and that of the first view's label."""
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
        """Return a start: near if possible, otherwise further away, otherwise anywhere."""
        for bound, barred in ((near, taken), (None, taken), (None, None)):
            start = draw_start(rng, domain, length, grid, bound, barred)
            if start is not None:
                return start
        return float(domain.start[np.argmax(domain.end - domain.start)])  # an interval that fits except for rounding

    def _intervals(self, index: int) -> dict[str, Interval]:
        if index not in self._tables:
            table, column = (self.spec.condition or ".").split(".")
            found = StoredRecording(self._store, self._records[index]).intervals.get(table)
            if found is None or column not in found.columns:
                log.info("%s has no %s: its views ignore the condition", self._records[index].path, table)
                found = None
            self._tables[index] = {} if found is None else {table: found}
        return self._tables[index]

    def _domain(self, index: int) -> Interval:
        if index not in self._domains:
            self._domains[index] = StoredRecording(self._store, self._records[index]).observed
        if type(self).times is not StepPlan.times and index not in self._times:
            recording = StoredRecording(self._store, self._records[index])
            with plain_failure(f"times of {type(self).__name__} fails for {recording.record.path}"):
                times = self.times(recording, self._domains[index])
            if not isinstance(times, Interval):
                raise ConfigError(
                    f"times of {type(self).__name__} gave {times!r}: expected a foundation.store.Interval"
                )
            self._times[index] = times if len(times) else self._domains[index]
        return self._times.get(index, self._domains[index])


def _fits(
    token_W: np.ndarray, resolution_R: np.ndarray, interval_R: np.ndarray, spec: ViewSpec
) -> tuple[np.ndarray, np.ndarray]:
    """Return ``(R, W)`` whether a window of each bin width fits each recording, and the tokens of the longest one."""
    longest_RW: np.ndarray = ((interval_R[:, None] + 1e-6) / token_W).astype(np.int64)
    fits_RW: np.ndarray = (token_W >= resolution_R[:, None] * (1 - 1e-9)) & (longest_RW >= spec.min_tokens)
    return fits_RW, longest_RW
