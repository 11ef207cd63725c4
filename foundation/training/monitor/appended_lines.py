"""Files of lines that outlive a disk which is full for a while."""

from __future__ import annotations

import json
import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)


class Lines:
    """A file of one JSON object a line. What cannot be written waits, and goes out with the next line.

    Args:
        path: of the file; lines are added to what is there.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp()) / "later"
        >>> lines = Lines(folder / "metrics.jsonl")
        >>> lines.add({"step": 1})  # there is no such folder
        >>> folder.mkdir()
        >>> lines.add({"step": 2})
        >>> lines.path.read_text()
        '{"step": 1}\\n{"step": 2}\\n'
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.waiting: list[str] = []

    def add(self, line: dict[str, Any]) -> None:
        """One more line; where it cannot be written the log says so, and nothing is raised."""
        self.waiting.append(json.dumps(line) + "\n")
        size = 0
        try:
            size = self.path.stat().st_size if self.path.exists() else 0
            with open(self.path, "a") as out:
                out.write("".join(self.waiting))
        except OSError as error:
            if len(self.waiting) == 1:
                log.warning("%s cannot be written (%s): its lines wait, and the run goes on", self.path, error)
            with suppress(OSError):  # half a line would spoil the next
                os.truncate(self.path, size)
            return
        self.waiting.clear()
