"""What streaming a file of raw voltage from an archive costs: writes docs/benchmarks/streaming.md.

    python benchmarks/streaming.py [--megabytes 60 260]

The archive is the one of the test suite, on loopback. It counts the requests to its storage and the bytes of each.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import h5py
import numpy as np
from harness import Page
from pynwb import NWBHDF5IO, NWBFile
from pynwb.ecephys import ElectricalSeries
from pynwb.file import Subject

from ingest.nwb.read_nwb import read_nwb
from ingest.sources import AccessSettings, Archive, find_assets, open_asset

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "ingest" / "archive"))
from archive_server import ArchiveServer

CHANNELS, ROWS, RATE = 64, 2048, 30_000.0
CHUNK = (ROWS, 8)
UNITS, SPIKES = 150, 5000
BLOCKS = (64 << 10, 256 << 10, 1 << 20)
MOST = 0.03


def write_file(path: Path, megabytes: int) -> None:
    """Write an NWB file of voltage in chunks of 32 kB, and 6 MB of spikes."""
    rng = np.random.default_rng(0)
    steps = max(1, round(megabytes * 1e6 / (2 * ROWS * CHANNELS)))
    seconds = steps * ROWS / RATE
    nwb = NWBFile(
        session_description="a benchmark",
        identifier="voltage",
        session_start_time=datetime(2021, 1, 1, tzinfo=UTC),
        session_id="s1",
        subject=Subject(subject_id="m1", species="Mus musculus"),
    )
    group = nwb.create_electrode_group("shank", "a shank", "CA1", nwb.create_device("probe"))
    for _ in range(CHANNELS):
        nwb.add_electrode(group=group, location="CA1")
    electrodes = nwb.create_electrode_table_region(list(range(CHANNELS)), "all of them")
    for _ in range(UNITS):
        nwb.add_unit(spike_times=np.sort(rng.uniform(0, seconds, SPIKES)))
    data = np.zeros((0, CHANNELS), np.int16)
    nwb.add_acquisition(ElectricalSeries(name="voltage", data=data, electrodes=electrodes, rate=RATE))
    with h5py.File(path, "w") as file, NWBHDF5IO(file=file, mode="w") as io:
        io.write(nwb)
    with h5py.File(path, "a") as file:
        place = file["acquisition/voltage"]
        attributes = dict(place["data"].attrs)
        del place["data"]
        voltage = place.create_dataset("data", (ROWS * steps, CHANNELS), np.int16, chunks=CHUNK)
        voltage.attrs.update(attributes)
        for step in range(steps):
            voltage[step * ROWS : (step + 1) * ROWS] = rng.integers(-100, 100, (ROWS, CHANNELS))


def stream(server: ArchiveServer, archive: Archive, block: int) -> tuple[int, int, float]:
    """Return requests, bytes and seconds of reading the archive's only asset."""
    access = AccessSettings(mode="stream", block=block)
    (asset,) = find_assets("dandi://bench/000001", archives=[archive], access=access)
    server.storage.requests.clear()
    began = time.perf_counter()
    with open_asset(asset, access) as content:
        recording = read_nwb(asset.url, source=asset.source, namespace=asset.namespace, content=content)
    seconds = time.perf_counter() - began
    assert recording.n_spikes == UNITS * SPIKES
    fetched = 0
    for request in server.storage.requests:
        first, last = request.headers["range"].removeprefix("bytes=").split("-")
        fetched += int(last) - int(first) + 1
    return len(server.storage.requests), fetched, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, nargs="+", default=[60, 260])
    parser.add_argument("--output", default="docs/benchmarks/streaming.md")
    chosen = parser.parse_args()
    page = Page(
        "Streaming",
        "python benchmarks/streaming.py",
        ["neural-foundation", "h5py", "pynwb", "hdmf", "requests", "numpy"],
    )
    page.say(
        f"NWB files with {CHANNELS} channels of int16 voltage at 30 kHz in chunks of {CHUNK[0]} x {CHUNK[1]} samples, "
        f"and {UNITS * SPIKES:,} spikes of {UNITS} units, read from an archive on loopback by `access.mode: stream`. "
        "*Overhead* is the bytes fetched beyond the spike times themselves, as a share of the file; the target is at "
        f"most {MOST:.0%} with the default block of 256 KiB. A download would be one request "
        "for the whole file."
    )
    rows, holds = [], True
    with tempfile.TemporaryDirectory() as folder:
        for megabytes in chosen.megabytes:
            path = Path(folder) / "voltage.nwb"
            write_file(path, megabytes)
            size = path.stat().st_size
            with h5py.File(path) as file:
                spikes = file["units/spike_times"].id.get_storage_size()
            server = ArchiveServer()
            server.contents.add_dandiset("000001")
            server.contents.add("000001", "sub-m1/sub-m1_ecephys.nwb", path.read_bytes())
            archive = Archive("bench", server.api_url)
            for block in BLOCKS:
                requests, fetched, seconds = stream(server, archive, block)
                beside = (fetched - spikes) / size
                holds &= beside <= MOST or block != AccessSettings().block
                rows.append([size / 1e6, block >> 10, requests, fetched / 1e6, f"{beside:.1%}", seconds])
            server.stop()
            path.unlink()
    page.table(["file, MB", "block, KiB", "requests", "fetched, MB", "overhead", "seconds"], rows)
    page.say(f"- 256 KiB: at most {MOST:.0%} of the file {'holds' if holds else 'does not hold'}")
    page.not_measured(
        [
            "The public archive: its latency is added to each request.",
            "Files with scattered metadata: each separate part costs a block.",
            "Zarr assets, which are fetched entry by entry.",
        ]
    )
    page.write(chosen.output)


if __name__ == "__main__":
    main()
