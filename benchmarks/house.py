"""Count files, lines and folders of the three packages at commits of this repository.

Prints the table of docs/design/house.md:

    python benchmarks/house.py 419d0f3 HEAD
"""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import PurePosixPath

import numpy as np

from foundation.common.output.pages import markdown_table

PACKAGES = ("foundation", "ingest", "finetune")


def git(*words: str) -> str:
    """Return what a git command prints."""
    return subprocess.run(["git", *words], check=True, capture_output=True, text=True).stdout


def measures(commit: str) -> dict[str, str]:
    """Return the figures of one commit as text; files named ``__init__.py`` are left out."""
    lines, folders = [], Counter()
    for name in git("ls-tree", "-r", "--name-only", commit, *PACKAGES).splitlines():
        if not name.endswith(".py") or name.endswith("/__init__.py"):
            continue
        lines.append(git("show", f"{commit}:{name}").count("\n"))
        folders[str(PurePosixPath(name).parent)] += 1
    sizes = np.array(lines)
    fullest, count = folders.most_common(1)[0]
    return {
        "files": f"{len(sizes)}",
        "lines": f"{sizes.sum():,}",
        "median lines of a file": f"{np.median(sizes):.0f}",
        "90th percentile": f"{np.percentile(sizes, 90):.0f}",
        "longest": f"{sizes.max()}",
        "files under 60 lines": f"{(sizes < 60).sum()}",
        "folders": f"{len(folders)}",
        "median files of a folder": f"{np.median(list(folders.values())):.0f}",
        "fullest folder": f"{count} ({fullest})",
    }


def main() -> None:
    commits = sys.argv[1:] or ["HEAD"]
    found = [measures(commit) for commit in commits]
    print(markdown_table(["", *commits], [[name, *(each[name] for each in found)] for name in found[0]]))


if __name__ == "__main__":
    main()
