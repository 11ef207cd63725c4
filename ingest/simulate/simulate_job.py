"""Simulate networks and write them as NWB files."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from foundation.common.errors import ConfigError
from foundation.common.progress import progress
from ingest.simulate.integrate import integrate
from ingest.simulate.simulate_settings import SimulateSettings
from ingest.simulate.simulated_network import make_network
from ingest.simulate.simulated_session import make_session
from ingest.simulate.write_session import SESSION, write_session

log = logging.getLogger(__name__)


def simulate_izhikevich(settings: SimulateSettings) -> list[Path]:
    """Simulate networks of Izhikevich neurons and write an NWB file each.

    Every file holds units with their firing mode (``cell_type``) and area (``location``), states of sleep and wake, and
    reaches with trials, hand position and hand velocity. A network depends on the seed and its own number only.

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
    for k, path in enumerate(progress(paths, "simulating", unit="network")):
        rng = np.random.default_rng([settings.seed, k])
        network, session = make_network(settings, rng), make_session(settings, rng)
        trains = integrate(network, session, rng)
        write_session(path, subjects[k], network, session, trains, settings.seconds, text)
        rate = sum(map(len, trains)) / settings.neurons / settings.seconds
        log.debug("%s: %.1f spikes a second and neuron", subjects[k], rate)
    return paths


def listing(paths: list[Path]) -> str:
    """The files that were written, a line each."""
    return "\n".join(str(path) for path in paths)


def _check_output(root: Path, paths: list[Path]) -> None:
    if root.exists() and not root.is_dir():
        raise ConfigError(f"output is {str(root)!r}, which is a file: allowed is a folder")
    foreign = sorted(set(root.rglob("*.nwb")) - set(paths)) if root.is_dir() else []
    if foreign:
        raise ConfigError(
            f"output is {str(root)!r}, which holds NWB files that this simulation does not write, such as "
            f"{str(foreign[0])!r}: allowed is a folder of its own"
        )
