"""NWB files read as recordings."""
