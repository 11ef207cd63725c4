"""Python and packages: versions against the requirements and `constraints.txt`, extras, and whether all import."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from foundation.cli.commands import COMMANDS
from foundation.cli.doctor.finding import BROKEN, NOTE, OK, WARNING, Finding
from foundation.common.processes.environment import ROOT, SAFE_PATH

DISTRIBUTION = "neural-foundation"
# Extras for developers only, and the extra that includes all others.
UNCHECKED = ("all", "bench", "dev", "docs")
# Extras that no command needs by itself.
USES = {"cebra": "surrounding information for NeurPIR", "interop": "recordings for pynapple and torch_brain"}
# Packages with compiled code, or that break with other versions of their dependencies: distribution -> module.
IMPORTED = {
    "numpy": "numpy",
    "torch": "torch",
    "transformers": "transformers",
    "safetensors": "safetensors",
    "zarr": "zarr",
    "numba": "numba",
    "pyarrow": "pyarrow",
    "scipy": "scipy",
    "scikit-learn": "sklearn",
    "matplotlib": "matplotlib.pyplot",
    "pynwb": "pynwb",
    "ray": "ray",
    "dandi": "dandi",
    "s3fs": "s3fs",
    "deepspeed": "deepspeed",
    "mlflow-skinny": "mlflow",
    "peft": "peft",
    "bokeh": "bokeh",
    "neo": "neo",
    "probeinterface": "probeinterface",
    "pynapple": "pynapple",
    "torch-brain": "torch_brain",
    "cebra": "cebra",
}
IMPORTING = """
import importlib, sys
for name in sys.argv[1:]:
    print("begin", name, flush=True)
    try:
        importlib.import_module(name)
    except BaseException as error:
        print("failed", name, type(error).__name__, " ".join(str(error).split())[:200], flush=True)
    else:
        print("done", name, flush=True)
"""
Installed = Callable[[str], str]


def installed_version(name: str) -> str:
    """Return the installed version of a package, or an empty text.

    Example:
        >>> bool(installed_version("numpy")), installed_version("no-such-package")
        (True, '')
    """
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


@dataclass(frozen=True)
class Requirements:
    """The package's requirements: Python, and packages by extra; the extra ``""`` holds those of all commands."""

    python: str
    packages: dict[str, list[Requirement]]

    @property
    def extras(self) -> list[str]:
        """The extras to check."""
        return [name for name in self.packages if name and name not in UNCHECKED]


def read_requirements() -> Requirements | None:
    """Return the requirements of the installed package; None if it runs from its files without being installed."""
    try:
        found = importlib.metadata.metadata(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return None
    lines = [Requirement(line) for line in found.get_all("Requires-Dist") or []]
    core = [line for line in lines if line.marker is None or line.marker.evaluate({"extra": ""})]
    packages = {"": core}
    for extra in found.get_all("Provides-Extra") or []:
        packages[extra] = [
            line
            for line in lines
            if line not in core and line.marker is not None and line.marker.evaluate({"extra": extra})
        ]
    return Requirements(found["Requires-Python"] or "", packages)


def check_python(wanted: str, version: str = "") -> Finding:
    """Compare the version of Python with the package's requirement, such as ``>=3.11,<3.14``.

    Example:
        >>> check_python(">=3.11,<3.14", "3.10.2").state
        'broken'
    """
    version = version or platform.python_version()
    if SpecifierSet(wanted).contains(version, prereleases=True):
        return Finding("python", OK, version)
    return Finding(
        "python", BROKEN, f"this is {version}, required is {wanted}", "create an environment with such a Python"
    )


def check_requirements(requirements: Requirements, needed: Iterable[str], installed: Installed) -> list[Finding]:
    """Find packages that are missing or have a version that the package does not allow.

    Args:
        requirements: of the package.
        needed: extras whose missing packages count as broken.
        installed: package -> its version, or an empty text.
    """
    findings = []
    for extra in ("", *requirements.extras):
        wanted = requirements.packages[extra]
        absent = sorted({need.name for need in wanted if not installed(need.name)})
        wrong = [
            f"{need.name} {installed(need.name)} (required {need.specifier})"
            for need in wanted
            if installed(need.name) and not need.specifier.contains(installed(need.name), prereleases=True)
        ]
        subject = f"extra {extra}" if extra else "packages"
        install = f"pip install '{DISTRIBUTION}[{extra}]'" if extra else f"pip install {DISTRIBUTION}"
        if absent:
            state = BROKEN if not extra or extra in needed else NOTE
            users = _users(extra)
            text = f"{', '.join(absent)} {'is' if len(absent) == 1 else 'are'} not installed"
            findings.append(Finding(subject, state, text + (f" (for {users})" if users else ""), install))
        # An extra that is not fully installed may share packages with something else.
        if wrong and (not extra or not absent):
            findings.append(Finding(subject, BROKEN, ", ".join(wrong), install))
        elif not absent:
            findings.append(Finding(subject, OK, f"{len(wanted)} packages"))
    return findings


def _users(extra: str) -> str:
    """Return the commands that need an extra."""
    commands = [name for name, command in COMMANDS.items() if extra and command.extra == extra]
    return f"`foundation` {', '.join(commands)}" if commands else USES.get(extra, "")


def constraints_file() -> Path | None:
    """Return the list of versions that were tested together: inside the installed package, or beside it in a clone."""
    places = (ROOT / "foundation" / "constraints.txt", ROOT / "constraints.txt")
    return next((place for place in places if place.is_file()), None)


def check_constraints(file: Path, names: Iterable[str], installed: Installed) -> Finding:
    """Compare the installed versions of some packages with those that were tested together.

    Args:
        file: lines ``name==version``; other lines are ignored.
        names: of the packages.
        installed: package -> its version, or an empty text.
    """
    tested = {}
    for line in file.read_text().splitlines():
        name, equal, version = line.partition("==")
        if equal:
            tested[canonicalize_name(name)] = version.strip()
    other = []
    for name in sorted({canonicalize_name(name) for name in names} & set(tested)):
        version = installed(name)
        if version and Version(version).public != Version(tested[name]).public:
            other.append(f"{name} {version} ({tested[name]})")
    if not other:
        return Finding("versions", OK, "those that were tested together")
    text = f"{len(other)} not as tested (in brackets): {', '.join(other)}"
    return Finding("versions", NOTE, text, f"if something fails: pip install -c {file} {DISTRIBUTION}")


def check_conflicts(names: Iterable[str], installed: Installed) -> list[Finding]:
    """Find packages whose requirements are not met, like ``pip check``, among some packages and their dependencies."""
    open_names, seen, found = [canonicalize_name(name) for name in names], set[str](), []
    while open_names:
        name = open_names.pop()
        if name in seen or not installed(name):
            continue
        seen.add(name)
        for line in importlib.metadata.requires(name) or []:
            need = Requirement(line)
            if need.marker is not None and not need.marker.evaluate({"extra": ""}):
                continue
            version = installed(need.name)
            if not version:
                found.append(f"{name} needs {need.name}, which is not installed")
            elif not need.specifier.contains(version, prereleases=True):
                found.append(f"{name} {installed(name)} needs {need.name}{need.specifier}, installed is {version}")
            open_names.append(canonicalize_name(need.name))
    file = constraints_file()
    mend = f"pip install {f'-c {file} ' if file else ''}{DISTRIBUTION} installs versions that fit each other"
    return [Finding("versions", WARNING, text, mend) for text in sorted(set(found))]


def check_imports(
    modules: dict[str, str], seconds: float = 300.0, environment: dict[str, str] | None = None
) -> list[Finding]:
    """Import modules in a separate process, so that a crash does not end this process.

    Args:
        modules: package -> module.
        seconds: time limit for importing all of them.
        environment: of that process; by default this one's.
    """
    command = [sys.executable, "-c", IMPORTING, *modules.values()]
    given = (os.environ if environment is None else environment) | {SAFE_PATH: "1"}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False, timeout=seconds, env=given
        )
        output, ended = done.stdout, done.returncode
    except subprocess.TimeoutExpired as error:
        output, ended = (error.stdout or b"").decode(errors="replace"), None
    packages = {module: package for package, module in modules.items()}
    words = [line.split(" ", 3) for line in output.splitlines()]
    state = {word[1]: word for word in words if len(word) > 1 and word[0] in ("begin", "done", "failed")}
    findings = []
    for module, word in state.items():
        package = packages.get(module, module)
        if word[0] == "failed":
            reason = f"does not import ({' '.join(word[2:])})"
        elif word[0] == "begin" and ended is None:
            reason = f"takes longer than {seconds:.0f} s to import"
        elif word[0] == "begin":
            reason = f"ends the process when imported ({_ending(ended)})"
        else:
            continue
        findings.append(Finding("imports", BROKEN, f"{package} {reason}", f"pip install --force-reinstall {package}"))
    return findings or [Finding("imports", OK, f"{len(modules)} packages")]


def _ending(status: int | None) -> str:
    if status is not None and status < 0:
        return signal.Signals(-status).name
    return f"status {status}"


def package_findings(needed: Iterable[str], imports: bool) -> list[Finding]:
    """Check Python and packages.

    Args:
        needed: extras whose missing packages count as broken.
        imports: also import every installed package.
    """
    requirements = read_requirements()
    if requirements is None:
        text = f"{DISTRIBUTION} runs from its files and is not installed, so that versions cannot be compared"
        return [Finding("packages", WARNING, text, "pip install -e . in the clone")]
    findings = [check_python(requirements.python)]
    findings += check_requirements(requirements, needed, installed_version)
    names = [need.name for extra in ("", *requirements.extras) for need in requirements.packages[extra]]
    file = constraints_file()
    if file is not None:
        findings.append(check_constraints(file, names, installed_version))
    findings += check_conflicts(names, installed_version)
    if imports:
        modules = {package: module for package, module in IMPORTED.items() if installed_version(package)}
        findings += check_imports(modules, environment=import_environment())
    return findings


def import_environment() -> dict[str, str]:
    """Return the environment for importing packages; it tells DeepSpeed if there is no GPU."""
    try:
        import torch

        gpu = torch.cuda.is_available()
    except Exception:  # `check_imports` reports the problem with torch
        gpu = False
    return dict(os.environ) | ({} if gpu else {"DS_ACCELERATOR": os.environ.get("DS_ACCELERATOR") or "cpu"})
