"""Zarr assets of an archive: downloaded whole or read entry by entry."""
