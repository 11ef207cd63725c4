"""Turn NWB files into a store of recordings, simulate neurons whose type is known, and sort voltage into units."""
