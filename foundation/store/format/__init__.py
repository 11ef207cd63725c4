"""How a recording is laid out in Zarr: blocks of spikes, ticks, chunks and digests."""
