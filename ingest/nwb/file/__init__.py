"""The NWB file itself: damaged, unfinished or unsafe parts are found and left out by name."""
