"""Simulate sessions of voltage with known units and write them as NWB. The same settings give the same bytes."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from hdmf.backends.hdf5 import H5DataIO
from pynwb import NWBFile
from pynwb.ecephys import ElectricalSeries

from foundation.common.errors import ConfigError
from foundation.common.output.progress import progress
from ingest.nwb.write_nwb import write_nwb
from ingest.simulate.simulated_file import simulated_file
from ingest.sorting.simulation.simulated_voltage import SimulatedVoltage, simulate_session
from ingest.sorting.simulation.simulated_voltage_settings import VoltageSettings

log = logging.getLogger(__name__)
START = datetime(2012, 10, 1, tzinfo=UTC)  # the month of Pedreira et al.: a fixed date
GAIN = 0.195  # µV a step, of a common amplifier
SESSION = "voltage"


def simulate_voltage(settings: VoltageSettings) -> list[Path]:
    """Simulate sessions of one electrode, a tetrode or a probe, and write one NWB file each.

    A file holds the voltage (int16 and its conversion to volts), the positions of the channels, and the truth: a table
    of units with their spike times, SNR, channel and mean waveform.

    Returns:
        The files, in order.

    Raises:
        ConfigError: if the output cannot be a folder, or the template files hold too few units.
        SourceError: if a file cannot be read or written.
    """
    root = Path(settings.output)
    if root.exists() and not root.is_dir():
        raise ConfigError(f"output is {str(root)!r}, which is a file: expected a folder")
    sessions = [
        (units, number)
        for units in range(settings.min_units, settings.max_units + 1)
        for number in range(settings.sessions_each)
    ]
    paths = []
    for units, number in progress(sessions, "simulating", unit="session"):
        subject = f"{settings.name}{units:02d}u{number + 1}"
        path = root / f"sub-{subject}" / f"sub-{subject}_ses-{SESSION}_ecephys.nwb"
        session = simulate_session(settings.session, units, [settings.seed, units, number])
        text = f"Simulated voltage of {units} units, seed {settings.seed}, session {number + 1}."
        write_voltage(path, subject, session, text)
        log.debug("%s: SNR %s", subject, session.snr_U.round(1).tolist())
        paths.append(path)
    return paths


def write_voltage(path: Path, subject: str, session: SimulatedVoltage, text: str) -> None:
    """Write one session, atomically.

    Args:
        path: the file.
        subject: name of the "animal".
        session: the simulated session.
        text: a line on how it was made.

    Raises:
        SourceError: if the file cannot be written.
    """
    nwb = simulated_file(subject, SESSION, START, text, description="simulated voltage", species="Mus musculus")
    device = nwb.create_device("simulation", description="simulated electrodes")
    group = nwb.create_electrode_group("shank0", description="all channels", location="simulated", device=device)
    for x, y in session.positions_C2:
        nwb.add_electrode(group=group, location="simulated", rel_x=float(x), rel_y=float(y))
    region = nwb.create_electrode_table_region(list(range(len(session.positions_C2))), "all channels")
    stored_TC = np.clip(np.rint(session.x_TC / GAIN), -32768, 32767).astype(np.int16)
    nwb.add_acquisition(
        ElectricalSeries(
            name="ElectricalSeries",
            description="simulated voltage",
            data=H5DataIO(stored_TC, compression="gzip", compression_opts=1, shuffle=True),
            electrodes=region,
            rate=session.sampling_rate,
            starting_time=0.0,
            conversion=GAIN * 1e-6,
        )
    )
    if session.times:
        _add_truth(nwb, session)
    write_nwb(path, nwb)


def _add_truth(nwb: NWBFile, session: SimulatedVoltage) -> None:
    nwb.add_unit_column("snr", "peak of the mean waveform over the standard deviation of the background")
    nwb.add_unit_column("channel", "where the unit is largest")
    seconds = len(session.x_TC) / session.sampling_rate
    for u, times in enumerate(session.times):
        nwb.add_unit(
            spike_times=times,
            obs_intervals=[[0.0, seconds]],
            waveform_mean=session.template_UCT[u].T.astype(np.float32),
            snr=float(session.snr_U[u]),
            channel=int(session.channel_U[u]),
        )
    # One array: from the list that pynwb keeps, each spike is converted by itself when the file is written.
    nwb.units.spike_times_index.target.transform(lambda data: np.asarray(data, dtype=np.float64))
    nwb.units.waveform_rate = session.sampling_rate


def listing(paths: list[Path]) -> str:
    """Return the written files, a line each."""
    return "\n".join(str(path) for path in paths)
