"""Read NWB files as recordings."""
