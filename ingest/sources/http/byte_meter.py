"""Count the bytes that have arrived of the asset that this process reads."""

from __future__ import annotations

import threading


class Meter:
    """Counts bytes, from any thread.

    Example:
        >>> meter = Meter()
        >>> meter.count(3), meter.count(4), meter.bytes
        (None, None, 7)
    """

    def __init__(self) -> None:
        self.bytes = 0
        self._lock = threading.Lock()

    def reset(self) -> None:
        """Begin anew, with another asset."""
        with self._lock:
            self.bytes = 0

    def count(self, n: int) -> None:
        """Count ``n`` bytes more."""
        with self._lock:
            self.bytes += n


# A process works on one asset at a time.
METER = Meter()
