"""Settings of `foundation predict`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from foundation.common.errors import ConfigError
from foundation.common.settings.setting_checks import check_local
from foundation.common.settings.setting_limits import Limited, Natural, above

SUFFIXES = (".nwb", ".parquet")


@dataclass(frozen=True)
class PredictSettings(Limited):
    """What `foundation predict` does.

    Args:
        head: folder of a head that `foundation finetune` kept, or the beginning of its name.
        input: an NWB file, a folder of them, a URL, ``dandi://...``, or a store.
        output: a .nwb file (a copy of the input, or a new file, with what was decoded in the processing module
            ``decoded``) or a .parquet file; null: into the store that is the input, under derived/.
        where: which recordings of the input, as for `foundation catalog --where`.
        checkpoint: the model that the head was fitted to, if it is not where it was then.
        calibrate: minutes of the recording, from its start, to whose labels a head of labels over time is fitted anew
            first, with the model as it is: for another population.
        calibrated: folder for the head that calibration fits.
        cache_size: bytes of the checkpoint's features that a store on a local disk keeps for later runs, at most; the
            least recently used are removed first. 0: none are read or kept.
        stream: decode bins that come as JSON lines on standard input, and print a line for each.

    Raises:
        ConfigError: if a value is impossible.
    """

    head: str
    input: str | None = None
    output: str | None = None
    where: str | None = None
    checkpoint: str | None = None
    calibrate: Annotated[float | None, above(0, "minutes")] = None
    calibrated: str | None = None
    cache_size: Natural = 10 << 30
    stream: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_local(output=self.output, calibrated=self.calibrated)
        if self.output is not None and not self.output.endswith(SUFFIXES):
            raise ConfigError(
                f"output is {self.output!r}: expected a file that ends in {' or '.join(SUFFIXES)}, or null"
            )
        if self.stream:
            given = [name for name in ("input", "output", "where", "calibrate") if getattr(self, name) is not None]
            if given:
                raise ConfigError(f"stream is true and {given[0]} is given: expected bins on standard input")
        elif not self.input:
            raise ConfigError(f"input is {self.input!r}: expected an NWB file, a folder, a URL or a store")
        if self.calibrated is not None and self.calibrate is None:
            raise ConfigError("calibrated is given and calibrate is not: expected minutes to calibrate on")
