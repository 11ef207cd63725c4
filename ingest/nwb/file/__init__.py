"""The NWB file itself: damaged, unfinished and unsafe parts are left out and reported."""
