"""The local archive from which a tutorial reads a dandiset."""

import sys
from pathlib import Path

# Test modules import nothing of each other: the archive's fixtures come from here.
sys.path.insert(0, str(Path(__file__).parents[1] / "ingest" / "archive"))
from archive_fixture import archive_server  # noqa: F401
