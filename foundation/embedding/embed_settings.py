"""Settings of `foundation embed`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from foundation.common.errors import ConfigError
from foundation.common.settings.setting_checks import check_input, check_local
from foundation.common.settings.setting_limits import Count, CountOrNone, Limited, Natural, between


@dataclass(frozen=True)
class EmbedSettings(Limited):
    """Settings of `foundation embed`, which writes an embedding of every unit of every recording.

    Args:
        checkpoint: name, folder or URL of a pretrained model; docs/checkpoints.md explains names.
        store: the recordings.
        output: a local folder for one .npz per recording; null: the store itself, under derived/ (see `Derived`).
        bin_width: seconds of a bin; null: the shortest of pretraining for which the recording has enough detail.
        tokens: tokens of a window; null: as many as fit, between the shortest and the longest window of pretraining.
        max_windows: windows averaged per recording.
        seed: of the choice of windows.
        page: an HTML file with a map of all units, coloured by their properties; null: none.
        cache_size: bytes of the checkpoint's features that a store on a local disk keeps for later runs, at most; the
            least recently used are removed first. 0: none are read or kept.
        input: instead of a store: an NWB file, a folder of them or ``dandi://...``, read into a store of the cache.

    Raises:
        ConfigError: if a value is invalid.
    """

    checkpoint: str
    store: str = ""
    output: str | None = None
    bin_width: Annotated[float | None, between(0.0001, 3600, "seconds")] = None
    tokens: CountOrNone = None
    max_windows: Count = 64
    seed: int = 0
    cache_size: Natural = 10 << 30
    input: str | None = None
    page: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_input(self.store, self.input)
        check_local(output=self.output, page=self.page)
        if self.page is not None and not self.page.endswith((".html", ".htm")):
            raise ConfigError(f"page is {self.page!r}: expected the name of an .html file")
