"""`foundation sort`: a recording's voltage -> units, as NWB, as a Phy folder, as a page, and in a store."""

from __future__ import annotations

import logging
import shutil
from contextlib import ExitStack
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from foundation.common.errors import ConfigError
from foundation.common.files.locks import folder_lock
from foundation.common.output.pages import text_table
from foundation.common.output.printable import count
from ingest.nwb.read_nwb import opened_nwb
from ingest.sorting.output.phy_folder import write_phy
from ingest.sorting.output.sorted_recording import store_sorting
from ingest.sorting.output.units_nwb import write_units
from ingest.sorting.sort_settings import SortCommand, SortSettings
from ingest.sorting.sorted_units import Sorting
from ingest.sorting.sorting_run import sort_voltage
from ingest.sorting.voltage.voltage import ArrayVoltage, Voltage
from ingest.sorting.voltage.voltage_files import NWB_SUFFIXES, open_voltage

log = logging.getLogger(__name__)
UNITS, PHY, REPORT, WORK = "units.nwb", "phy", "report.html", "work"
PATIENCE = 1.0  # seconds to wait for another run of the same output


@dataclass(frozen=True)
class SortResult:
    """The result of a sorting and its files.

    Args:
        sorting: units and their spikes.
        files: the written files.
        stored: id of the recording in the store; ``''`` without one.
    """

    sorting: Sorting
    files: list[Path]
    stored: str = ""

    def __str__(self) -> str:
        sorting = self.sorting
        seconds = sorting.stop - sorting.start
        lines = [f"{count(sorting.n_units, 'unit')}, {count(len(sorting), 'spike')} in {seconds:.1f} s"]
        if sorting.n_units:
            quality, labels = sorting.quality(), sorting.labels()
            head = ["unit", "channel", "spikes", "Hz", "SNR", "intervals < 1.5 ms", "presence", "label"]
            rows = [
                [
                    str(unit),
                    str(sorting.channels.names[sorting.channel_U[unit]]),
                    f"{len(sorting.train(unit)):,}",
                    f"{quality['firing_rate'][unit]:.2f}",
                    f"{quality['snr'][unit]:.1f}",
                    f"{quality['isi_violations'][unit]:.2%}",
                    f"{quality['presence'][unit]:.0%}",
                    str(labels[unit]),
                ]
                for unit in range(sorting.n_units)
            ]
            lines += ["", text_table([head, *rows], right=set(range(2, len(head) - 1)))]
        lines += [*([""] if sorting.notes else []), *sorting.notes, "", *map(str, self.files)]
        return "\n".join([*lines, *([f"recording {self.stored} in the store"] if self.stored else [])])


def sort(command: SortCommand) -> SortResult:
    """Sort a recording's voltage into units; the same command resumes a stopped run.

    Args:
        command: input, settings and output.

    Returns:
        The units and the written files.

    Raises:
        SourceError: if the input cannot be read or sorted.
        ConfigError: if the output cannot be a folder, or settings of a plain binary file are missing.
        FoundationError: if another run writes to the same output.
    """
    output = Path(command.output)
    if output.exists() and not output.is_dir():
        raise ConfigError(f"output is {command.output!r}, which is a file: expected a folder")
    settings = SortSettings(**{one.name: getattr(command, one.name) for one in fields(SortSettings)})
    with ExitStack() as stack:
        voltage = stack.enter_context(open_voltage(command.input, command.raw))
        stack.enter_context(folder_lock(output, PATIENCE))
        sorting = sort_voltage(voltage, settings, output / WORK)
        for note in sorting.notes:
            log.info("%s: %s", command.input, note)
        files = _write(command, settings, voltage, sorting, output)
    stored = ""
    if command.store is not None and sorting.n_units:
        is_nwb = command.input.rstrip("/").endswith(NWB_SUFFIXES)
        stored = store_sorting(command.store, sorting, settings, command.input, output / UNITS, is_nwb)
    shutil.rmtree(output / WORK, ignore_errors=True)
    return SortResult(sorting, files, stored)


def _write(
    command: SortCommand, settings: SortSettings, voltage: Voltage, sorting: Sorting, output: Path
) -> list[Path]:
    """Write units.nwb, phy/ and report.html."""
    name = Path(command.input).name.split(".")[0] or "recording"
    with ExitStack() as stack:
        like = None
        if command.input.rstrip("/").endswith(NWB_SUFFIXES):
            like = stack.enter_context(opened_nwb(command.input))
        write_units(sorting, output / UNITS, name, like)
    plain = isinstance(voltage, ArrayVoltage)
    dtype = np.dtype(voltage.dtype).name if isinstance(voltage, ArrayVoltage) else "int16"
    write_phy(sorting, output / PHY, command.input if plain else "", dtype, command.raw.header)
    if not command.report:
        return [output / UNITS, output / PHY]
    from ingest.sorting.output.sorting_report import write_report  # needs matplotlib

    write_report(sorting, settings, output / REPORT, name)
    return [output / UNITS, output / PHY, output / REPORT]
