"""Write sorted units as an NWB file: the recording's session, its electrodes, and a units table."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from pynwb import NWBFile
from pynwb.file import Subject

from ingest.nwb.nwb_texts import plain_text
from ingest.nwb.write_nwb import write_nwb
from ingest.sorting.sorted_units import Sorting

UNKNOWN_START = datetime(1970, 1, 1, tzinfo=UTC)  # of formats without a recording date
VOLTS = 1e-6
SUBJECT = ("subject_id", "species", "sex", "age", "description", "genotype", "strain")


def write_units(sorting: Sorting, path: Path, name: str, like: NWBFile | None = None) -> None:
    """Write a sorting as NWB, atomically; the same sorting gives the same bytes.

    Args:
        sorting: units and spikes.
        path: the file.
        name: of the session, for recordings other than NWB.
        like: the file with the voltage, source of session, subject and description.

    Raises:
        SourceError: if the file cannot be written.
    """
    start = UNKNOWN_START if like is None else like.session_start_time
    nwb = NWBFile(
        session_description=(plain_text(like.session_description) if like else "") or f"sorted from {name}",
        identifier=f"{like.identifier if like else name}_sorted",
        session_id=(like.session_id if like else None) or name,
        session_start_time=start,
        timestamps_reference_time=start if like is None else like.timestamps_reference_time,
        file_create_date=start,
        lab=like.lab if like else None,
        institution=like.institution if like else None,
        subject=_subject(like),
    )
    _add_electrodes(nwb, sorting)
    _add_units(nwb, sorting)
    write_nwb(path, nwb)


def _subject(like: NWBFile | None) -> Subject | None:
    if like is None or like.subject is None:
        return None
    return Subject(**{name: getattr(like.subject, name) for name in SUBJECT if getattr(like.subject, name) is not None})


def _add_electrodes(nwb: NWBFile, sorting: Sorting) -> None:
    device = nwb.create_device(name="probe", description="as the recording has it")
    channels = sorting.channels
    groups = {
        group: nwb.create_electrode_group(name=f"group {group}", description="", location="unknown", device=device)
        for group in dict.fromkeys(channels.groups.tolist())
    }
    nwb.add_electrode_column("channel_name", "name of the channel in the recording")
    nwb.add_electrode_column("noise", "median(|x|) / 0.6745 of the filtered voltage, microvolts")
    for channel in range(len(channels)):
        rel_x, rel_y = channels.positions_C2[channel].tolist()
        nwb.add_electrode(
            group=groups[str(channels.groups[channel])],
            location="unknown",
            rel_x=rel_x,
            rel_y=rel_y,
            channel_name=str(channels.names[channel]),
            noise=float(sorting.noise_C[channel]),
        )


def _add_units(nwb: NWBFile, sorting: Sorting) -> None:
    if not sorting.n_units:
        return
    quality = sorting.quality()
    words = {
        "snr": "peak of the mean waveform over the noise of its channel",
        "isi_violations": "share of intervals below 1.5 ms",
        "presence": "share of 20 equal parts of the recording with a spike",
        "amplitude_median": "of the spikes' peaks, microvolts",
        "firing_rate": "Hz",
        "detectability": "norm of the template in white voltage, in units of the noise",
        "contamination": "estimated share of spikes of other neurons",
    }
    nwb.add_unit_column("channel", "channel on which the unit is largest")
    for column, description in words.items():
        nwb.add_unit_column(column, description)
    nwb.add_unit_column("quality", "good: a single unit; mua: multi-unit activity")
    labels = sorting.labels()
    nwb.add_unit_column("spike_amplitudes", "of each spike's peak, microvolts", index=True)
    for unit in range(sorting.n_units):
        mine = sorting.unit_N == unit
        nwb.add_unit(
            spike_times=sorting.time_N[mine],
            obs_intervals=[[sorting.start, sorting.stop]],
            electrodes=[int(sorting.channel_U[unit])],
            waveform_mean=sorting.templates_UCT[unit].T * VOLTS,
            channel=int(sorting.channel_U[unit]),
            quality=str(labels[unit]),
            spike_amplitudes=sorting.amplitude_N[mine].astype(np.float64),
            **{column: float(quality[column][unit]) for column in words},
        )
    for column in ("spike_times", "spike_amplitudes"):
        nwb.units[column].target.transform(lambda data: np.asarray(data, dtype=np.float64))
    nwb.units.resolution = 1.0 / sorting.sampling_rate
    nwb.units.waveform_rate = sorting.sampling_rate
