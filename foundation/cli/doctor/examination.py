"""All checks of `foundation doctor`, and how their findings are printed."""

from __future__ import annotations

import json
import logging
import os
import platform
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

from foundation.cli.doctor.credential_checks import credential_findings
from foundation.cli.doctor.device_checks import device_findings, read_device
from foundation.cli.doctor.doctor_settings import DoctorSettings
from foundation.cli.doctor.finding import BROKEN, NOTE, OK, WARNING, Finding
from foundation.cli.doctor.folder_checks import folder_findings
from foundation.cli.doctor.machine_checks import existing, machine_findings
from foundation.cli.doctor.network_checks import network_findings
from foundation.cli.doctor.package_checks import installed_version, package_findings, read_requirements
from foundation.common.errors import ConfigError
from foundation.common.output.pages import text_table
from foundation.common.processes.cores import usable_cores
from foundation.common.settings.resources import config_folder, config_names
from foundation.version import __version__

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Examination:
    """Result of `examine`.

    Args:
        lines: description of the machine and this installation.
        packages: extra -> package -> version, empty for a package that is not installed; the extra ``core`` holds the
            packages of all commands.
        findings: of all checks.
        as_json: print JSON.
    """

    lines: list[str]
    packages: dict[str, dict[str, str]]
    findings: list[Finding]
    as_json: bool = field(default=False, compare=False)

    @property
    def ok(self) -> bool:
        """True if nothing is broken; the command's exit status is then 0, otherwise 1."""
        return not any(finding.state == BROKEN for finding in self.findings)

    @property
    def summary(self) -> str:
        """Number of findings that are broken, warnings and notes."""
        count = Counter(finding.state for finding in self.findings)
        broken = f"{count[BROKEN]} broken" if count[BROKEN] else "nothing is broken"
        return f"{broken}, {_plural(count[WARNING], 'warning')}, {_plural(count[NOTE], 'note')}"

    def as_dict(self) -> dict[str, Any]:
        """Return the result as JSON values."""
        return {
            "foundation": __version__,
            "python": platform.python_version(),
            "platform": platform.platform(),
            "ok": self.ok,
            "findings": [asdict(finding) for finding in self.findings],
            "packages": self.packages,
        }

    def __str__(self) -> str:
        if self.as_json:
            return json.dumps(self.as_dict(), indent=2)
        parts = [*self.lines, ""]
        for extra, found in self.packages.items():
            known = ", ".join(f"{name} {version}" for name, version in found.items() if version)
            parts.append(f"{extra:9} {known or '-'}")
        for state in (BROKEN, WARNING, NOTE):
            rows = [(state, str(finding)) for finding in self.findings if finding.state == state]
            if rows:
                parts += ["", text_table(rows)]
        in_order = dict.fromkeys(finding.subject for finding in self.findings if finding.state == OK)
        return "\n".join([*parts, "", f"in order: {', '.join(in_order)}", self.summary])


def _plural(count: int, noun: str) -> str:
    """Return a number with its noun.

    Example:
        >>> _plural(1, "note"), _plural(2, "note"), _plural(0, "note")
        ('1 note', '2 notes', 'no notes')
    """
    return f"{count or 'no'} {noun}{'s' * (count != 1)}"


def guarded(name: str, check: Callable[[], list[Finding]]) -> list[Finding]:
    """Return the findings of a check; a check that fails, as on a system without /proc, becomes a finding.

    Example:
        >>> print(guarded("machine", lambda: [Finding("disk", OK, "")["size"]])[0])
        machine: could not be checked (TypeError: 'Finding' object is not subscriptable); the log file has the traceback
    """
    try:
        return check()
    except Exception as error:
        log.debug("%s could not be checked", name, exc_info=True)
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        return [Finding(name, WARNING, f"could not be checked ({reason})", "the log file has the traceback")]


def _machine(folder: Path) -> str:
    """Return cores, memory and disk, in a line."""
    try:
        memory = psutil.virtual_memory()
        free = shutil.disk_usage(existing(folder)).free
    except (OSError, RuntimeError) as error:
        return f"{usable_cores()} cores; memory and disk could not be read ({error})"
    return (
        f"{usable_cores()} cores, {memory.total / 2**30:.0f} GiB memory ({memory.available / 2**30:.0f} GiB free), "
        f"{free / 2**30:.0f} GiB disk free here"
    )


def examine(settings: DoctorSettings | None = None) -> Examination:
    """Check this installation and this machine, and say how to fix problems.

    Args:
        settings: checks to run, and form of the output.

    Raises:
        ConfigError: for an extra that the package does not have.

    Example:
        >>> examination = examine(DoctorSettings(imports=False))
        >>> examination.lines[0].startswith("foundation ")
        True
    """
    settings = settings or DoctorSettings()
    requirements = read_requirements()
    known = requirements.extras if requirements else []
    for extra in settings.extras:
        if requirements and extra not in known:
            raise ConfigError(f"extras holds {extra!r}: expected some of {', '.join(known)}")
    device = read_device()
    folder = Path(settings.folder).expanduser()
    groups: dict[str, Callable[[], list[Finding]]] = {
        "packages": lambda: package_findings(settings.extras, settings.imports),
        "device": lambda: device_findings(device),
        "machine": lambda: machine_findings(folder),
        "folders": lambda: folder_findings(folder),
        "network": lambda: network_findings(os.environ, settings.tracking_uri, settings.patience),
        "credentials": lambda: credential_findings(os.environ),
    }
    findings = [finding for name, check in groups.items() for finding in guarded(name, check)]
    lines = [
        f"foundation {__version__}, Python {platform.python_version()}, {platform.platform()}",
        _machine(folder),
        str(device),
        f"{len(config_names())} shipped configs in {config_folder()}",
    ]
    packages: dict[str, dict[str, str]] = {}
    if requirements:
        for extra in ("", *known):
            names = dict.fromkeys(need.name for need in requirements.packages[extra])
            packages[extra or "core"] = {name: installed_version(name) for name in names}
    return Examination(lines, packages, findings, settings.json)
