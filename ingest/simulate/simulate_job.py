"""Simulate networks and write them as NWB files. The same settings give the same bytes."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from pynwb import NWBFile, TimeSeries
from pynwb.behavior import Position, SpatialSeries
from pynwb.epoch import TimeIntervals

from foundation.common.errors import ConfigError
from foundation.common.output.progress import progress
from ingest.nwb.write_nwb import write_nwb
from ingest.simulate.simulate_settings import RANDOM_TARGETS, SimulateSettings
from ingest.simulate.simulated_file import simulated_file
from ingest.simulate.simulated_network import STEP, Network, make_network
from ingest.simulate.simulated_session import BEHAVIOR_RATE, Session, integrate, make_session

log = logging.getLogger(__name__)
START = datetime(2003, 11, 1, tzinfo=UTC)  # the month of Izhikevich's paper: a fixed date
SESSION = "izhikevich"


def simulate_izhikevich(settings: SimulateSettings) -> list[Path]:
    """Simulate networks of Izhikevich neurons and write one NWB file each.

    Every file holds units with their firing mode (``cell_type``) and area (``location``), states of sleep and wake, and
    a hand with trials, position and velocity: reaches to eight targets, or random targets that follow each other. A
    network depends on the seed and its own number only.

    Returns:
        The files, in order.

    Raises:
        ConfigError: if the output cannot be a folder, or holds NWB files of another simulation.
        SourceError: if a file cannot be written.
    """
    root = Path(settings.output)
    subjects = [f"{settings.name}{k + 1:02d}" for k in range(settings.networks)]
    paths = [root / f"sub-{subject}" / f"sub-{subject}_ses-{SESSION}_ecephys.nwb" for subject in subjects]
    _check_output(root, paths)
    text = (
        f"Simulated network of {settings.neurons} Izhikevich neurons, jitter {settings.jitter:g}, drive shift "
        f"{settings.drive_shift:g}, coupling {settings.coupling:g}, seed {settings.seed}."
    )
    if settings.reaches and settings.movement == RANDOM_TARGETS:
        text += " The hand follows random targets in a square."
    for k, path in enumerate(progress(paths, "simulating", unit="network")):
        rng = np.random.default_rng([settings.seed, k])
        network, session = make_network(settings, rng), make_session(settings, rng)
        trains = integrate(network, session, rng)
        write_session(path, subjects[k], network, session, trains, settings.seconds, text, settings.varies_tuning)
        rate = sum(map(len, trains)) / settings.neurons / settings.seconds
        log.debug("%s: %.1f spikes a second and neuron", subjects[k], rate)
    return paths


def listing(paths: list[Path]) -> str:
    """Return the written files, a line each."""
    return "\n".join(str(path) for path in paths)


def _check_output(root: Path, paths: list[Path]) -> None:
    if root.exists() and not root.is_dir():
        raise ConfigError(f"output is {str(root)!r}, which is a file: expected a folder")
    foreign = sorted(set(root.rglob("*.nwb")) - set(paths)) if root.is_dir() else []
    if foreign:
        raise ConfigError(
            f"output is {str(root)!r}, which holds other NWB files, such as "
            f"{str(foreign[0])!r}: expected a separate folder"
        )


def write_session(
    path: Path,
    subject: str,
    network: Network,
    session: Session,
    trains: list[np.ndarray],
    seconds: float,
    text: str,
    tuning: bool = False,
) -> None:
    """Write one session; the file is written atomically.

    Args:
        path: the file.
        subject: name of the "animal".
        network, session, trains: the simulated data.
        seconds: its length.
        text: a line on how it was made.
        tuning: write each unit's tuning to the hand, too.

    Raises:
        SourceError: if the file cannot be written.
    """
    nwb = simulated_file(subject, SESSION, START, text, description="a simulated network of Izhikevich neurons")
    _add_units(nwb, network, trains, seconds)
    if tuning:
        _add_tuning(nwb, network)
    _add_states(nwb, session)
    if session.trials:
        _add_reaches(nwb, session)
        _add_hand(nwb, session)
    elif session.targets:
        _add_targets(nwb, session)
        _add_hand(nwb, session)
    write_nwb(path, nwb)


def _add_units(nwb: NWBFile, network: Network, trains: list[np.ndarray], seconds: float) -> None:
    nwb.add_unit_column("cell_type", "firing mode (Izhikevich 2003): RS, IB, CH, FS or LTS")
    nwb.add_unit_column("location", "simulated area")
    for name in "abcd":
        nwb.add_unit_column(name, f"parameter {name} of the model")
    for n, train in enumerate(trains):
        parameters = dict(zip("abcd", network.abcd_N4[n].tolist(), strict=True))
        labels = {"cell_type": network.cell_types[n], "location": network.locations[n]}
        nwb.add_unit(spike_times=train, obs_intervals=[[0.0, seconds]], **labels, **parameters)
    # One array: from the list that pynwb keeps, each spike is converted by itself when the file is written.
    nwb.units.spike_times_index.target.transform(lambda data: np.asarray(data, dtype=np.float64))
    nwb.units.resolution = 0.001


def _add_tuning(nwb: NWBFile, network: Network) -> None:
    columns = {
        "velocity_tuning": ("input current per 30 cm/s of the hand (x, y)", network.tuning_N2),
        "speed_tuning": ("input current per 30 cm/s of the hand in any direction", network.speed_N),
        "position_tuning": ("input current per 8 cm of the hand from the centre (x, y)", network.place_N2),
        "movement_lead": ("by how much the input is ahead of the hand, seconds", network.lead_N * STEP),
    }
    for name, (description, values) in columns.items():
        nwb.add_unit_column(name, description, data=values)


def _add_states(nwb: NWBFile, session: Session) -> None:
    table = TimeIntervals(name="sleep_states", description="state of the simulated animal")
    table.add_column("label", "wake, nrem or rem")
    for bout in session.bouts:
        table.add_interval(start_time=float(bout.start), stop_time=float(bout.end), label=bout.state)
    nwb.add_time_intervals(table)


def _add_reaches(nwb: NWBFile, session: Session) -> None:
    nwb.add_trial_column("target_id", "0 to 7, counter-clockwise from the right")
    nwb.add_trial_column("target_dir", "direction of the target, radians")
    nwb.add_trial_column("go_time", "when the hand begins to move, seconds")
    for trial in session.trials:
        nwb.add_trial(
            start_time=trial.start,
            stop_time=trial.stop,
            target_id=trial.target,
            target_dir=trial.direction,
            go_time=trial.go,
        )


def _add_targets(nwb: NWBFile, session: Session) -> None:
    nwb.add_trial_column("target_x", "of the target, cm from the centre of the square")
    nwb.add_trial_column("target_y", "of the target, cm from the centre of the square")
    nwb.add_trial_column("target_dir", "direction from the previous target, radians")
    nwb.add_trial_column("go_time", "when the hand begins to move towards the target, seconds")
    for trial in session.targets:
        nwb.add_trial(
            start_time=trial.start,
            stop_time=trial.stop,
            target_x=trial.target[0],
            target_y=trial.target[1],
            target_dir=trial.direction,
            go_time=trial.go,
        )


def _add_hand(nwb: NWBFile, session: Session) -> None:
    module = nwb.create_processing_module("behavior", "the simulated hand")
    position = session.position_T2[:: session.stride].astype(np.float32)
    velocity = session.velocity_T2[:: session.stride].astype(np.float32)
    sampled = {"rate": BEHAVIOR_RATE, "starting_time": 0.0}
    frame = "centre of the workspace"
    hand = SpatialSeries(
        name="hand_position",
        description="hand (x, y)",
        data=position,
        unit="centimeters",
        reference_frame=frame,
        **sampled,
    )
    module.add(Position(spatial_series=hand))
    module.add(TimeSeries(name="hand_velocity", data=velocity, unit="cm/s", description="hand (x, y)", **sampled))
