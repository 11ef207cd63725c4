"""Files that go with a release: the citation and the page of licences."""

import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
SPEC = importlib.util.spec_from_file_location("licences", ROOT / "infra/release/licences.py")
licences = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(licences)


def test_citation_fits_its_schema():
    command = [str(Path(sys.executable).parent / "check-jsonschema"), "--builtin-schema", "vendor.citation-file-format"]
    done = subprocess.run(
        [*command, "--default-filetype", "yaml", str(ROOT / "CITATION.cff")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_page_of_licences_lists_every_user_dependency():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].items()
    lines = project["dependencies"] + [n for extra, names in extras if extra not in licences.DEVELOPMENT for n in names]
    names = {canonicalize_name(Requirement(line).name) for line in lines} - {licences.NAME}
    listed = set(re.findall(r"^\| ([a-z0-9-]+) \| \d", (ROOT / "docs/licences.md").read_text(), re.MULTILINE))
    assert names - listed == set(), "run `make licences`"


@pytest.mark.parametrize(
    ("licence", "family"),
    [
        ("MIT License", "permissive"),
        ("MPL-2.0 AND MIT", "copyleft for single files (MPL, EPL)"),
        ("GNU General Public License v3 or later (GPLv3+)", "copyleft (GPL, AGPL)"),
        ("LGPL-3.0-or-later", "copyleft for a library (LGPL)"),
        ("GPL-3.0 OR MIT", "permissive"),
        ("CC-BY-NC-4.0", "not for commercial use"),
        ("UNKNOWN", licences.UNKNOWN),
    ],
)
def test_licence_families(licence, family):
    assert licences.family(licence) == family


def test_packages_of_all_installations_and_of_extras_are_distinguished():
    brought = licences.closure()
    assert brought["torch"] == brought["tokenizers"] == {"core"}  # tokenizers through transformers
    assert brought["pynwb"] == {"ingest", "interop", "sorting"}
    assert "ruff" not in brought
