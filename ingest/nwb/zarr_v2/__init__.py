"""Zarr NWB assets, as hdmf-zarr writes them (Zarr v2), read through zarr 3 and pynwb's own object mapping.

hdmf-zarr itself needs zarr 2. No file is trusted: no pickle is loaded, nothing outside the store is read,
and an array's declared shape is checked before memory is allocated.
"""

from ingest.nwb.zarr_v2.zarr_v2_layout import digest_of_zarr, zarr_at
from ingest.nwb.zarr_v2.zarr_v2_reader import opened_zarr

__all__ = ["digest_of_zarr", "opened_zarr", "zarr_at"]
