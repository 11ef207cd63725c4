"""List the licences of all packages that an installation of every extra brings, as a page (`make licences`).

    python infra/release/licences.py docs/licences.md

pip-licenses reads the licences of this environment. Packages of developers' extras are left out, and so are those of
other programs in the environment.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
import sys
import time
from collections import defaultdict

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from foundation.common.output.pages import MarkdownPage
from foundation.version import __version__

NAME = "neural-foundation"
DEVELOPMENT = ("all", "bench", "dev", "docs")
# Licence family -> pattern; the first that fits counts. "or" gives a choice, so the mildest of its parts counts.
FAMILIES = {
    "copyleft (GPL, AGPL)": r"\bA?GPL|GNU General|GNU Affero",
    "copyleft for a library (LGPL)": r"\bLGPL|Lesser General",
    "not for commercial use": r"non-?commercial|\bNC\b",
    "proprietary": r"proprietary|NVIDIA|other/",
    "copyleft for single files (MPL, EPL)": r"\bMPL|Mozilla|\bEPL|Eclipse",
    "permissive": r"MIT|BSD|Apache|ISC|Python Software|PSF|Unlicense|Public Domain|CC0|Zlib|HPND|AFL|Academic",
}
UNKNOWN = "not stated in the metadata"
# What the metadata do not say, or a lab should know beside the licence.
REMARKS = {
    "cebra": "Apache-2.0. EPFL holds a patent on the method ([objectives](objectives.md#neurpir)).",
    "rfc3987": "GPL-3.0 or later. dandischema asks for it through `jsonschema[format]`, to check the form of web "
    "addresses; Foundation does not import it. The GPL puts no condition on running it. Whoever passes on an image or "
    "an environment that holds it passes on a program under the GPL.",
}
# Read in the licence files of packages whose metadata state none.
READ = {"huey": "MIT", "quantities": "BSD-3-Clause", "skops": "MIT"}


def closure() -> dict[str, set[str]]:
    """Return every package that an extra brings here, with the extras that bring it; ``core`` comes with every one."""
    found = importlib.metadata.metadata(NAME)
    lines = [Requirement(line) for line in found.get_all("Requires-Dist") or []]
    extras = ["", *(name for name in found.get_all("Provides-Extra") or [] if name not in DEVELOPMENT)]
    held: dict[str, set[str]] = defaultdict(set)
    for extra in extras:
        wanted = [need for need in lines if _holds(need, extra)]
        open_needs, seen = [(need.name, tuple(need.extras)) for need in wanted], set()
        while open_needs:
            name, more = open_needs.pop()
            if (name, more) in seen:
                continue
            seen.add((name, more))
            try:
                package = importlib.metadata.distribution(name)
            except importlib.metadata.PackageNotFoundError:
                continue  # for another system
            held[canonicalize_name(name)].add(extra or "core")
            for line in package.requires or []:
                need = Requirement(line)
                if any(_holds(need, each) for each in ("", *more)):
                    open_needs.append((need.name, tuple(need.extras)))
    return {name: {"core"} if "core" in extras else extras for name, extras in held.items()}


def _holds(need: Requirement, extra: str) -> bool:
    return need.marker is None or need.marker.evaluate({"extra": extra})


def family(licence: str) -> str:
    """Return the family of a licence as its package states it.

    Example:
        >>> family("MPL-2.0 AND MIT"), family("BSD License; GNU General Public License (GPL); Public Domain")
        ('copyleft for single files (MPL, EPL)', 'copyleft (GPL, AGPL)')
        >>> family("GPL-3.0 OR MIT"), family("UNKNOWN")
        ('permissive', 'not stated in the metadata')
    """
    parts = re.split(r"\s+OR\s+", licence)
    order = [UNKNOWN, *FAMILIES]
    return max((_family_of_all(part) for part in parts), key=order.index)


def _family_of_all(licence: str) -> str:
    return next((name for name, pattern in FAMILIES.items() if re.search(pattern, licence, re.IGNORECASE)), UNKNOWN)


def main() -> None:
    """Write the page."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    brought = closure()
    command = ["pip-licenses", "--python", sys.executable, "--with-system", "--format", "json", "--from", "mixed"]
    listed = {canonicalize_name(each["Name"]): each for each in json.loads(subprocess.check_output(command))}
    rows, families = [], defaultdict(list)
    for name in sorted(brought):
        version = importlib.metadata.version(name)
        licence = listed[name]["License"] if name in listed else "UNKNOWN"
        if licence == "UNKNOWN":
            licence = f"{READ[name]} (licence file)" if name in READ else UNKNOWN
        families[family(licence)].append(f"{name} {version}")
        rows.append([name, version, licence, ", ".join(sorted(brought[name]))])
    torch = importlib.metadata.version("torch")
    page = MarkdownPage("Licences of dependencies")
    page.code("make licences")
    page.say(
        f"Read with pip-licenses on {time.strftime('%Y-%m-%d', time.gmtime())} from an environment with "
        f"neural-foundation {__version__} and all extras for users: {len(rows)} packages, as their own metadata state "
        "them. Foundation itself is under Apache-2.0. This list is no legal advice."
    )
    page.heading("What to know")
    page.table(["Family", "packages"], [[name, len(families[name])] for name in (*FAMILIES, UNKNOWN) if families[name]])
    shown = [name for name in (*FAMILIES, UNKNOWN) if families[name] and name != "permissive"]
    notes = [f"{name[0].upper()}{name[1:]}: {', '.join(families[name])}." for name in shown]
    notes += [f"**{name}**: {text}" for name, text in REMARKS.items() if name in brought]
    if "cpu" in torch:
        notes.append(
            f"**PyTorch** here is {torch}, without CUDA. A PyTorch with CUDA also installs packages of NVIDIA "
            "(`nvidia-*`), which are proprietary; NVIDIA's licences hold for them."
        )
    page.items(notes)
    page.heading("All packages")
    page.say("*core* comes with every installation, the others with the extras named.")
    page.table(["Package", "version", "licence", "brought by"], rows)
    page.write(sys.argv[1])


if __name__ == "__main__":
    main()
