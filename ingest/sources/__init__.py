"""What recordings there are to be had, and their bytes: one module per kind of source."""

from ingest.sources.files import SourceFile, find_files

__all__ = ["SourceFile", "find_files"]
