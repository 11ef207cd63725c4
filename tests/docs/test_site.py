"""The documentation site: builds without warnings, needs no network, and has no broken links."""

import importlib
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
MODULES = [
    *["foundation", "foundation.data", "foundation.embedding", "foundation.hub", "foundation.interop"],
    *["foundation.models", "foundation.objectives", "foundation.store", "foundation.training"],
    *["finetune", "finetune.tasks", "ingest.sources"],
]


class Links(HTMLParser):
    """What a page loads, its links, and its link targets."""

    def __init__(self):
        super().__init__()
        self.loaded, self.linked, self.anchors = [], [], set()

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.anchors.add(given.get("id"))
        if tag == "a":
            self.linked.append(given.get("href") or "")
        elif tag == "link":
            self.loaded.append(given.get("href") or "")
        elif tag in ("script", "img", "iframe", "source", "object"):
            self.loaded.append(given.get("src") or given.get("data") or "")


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The built site. Warnings are errors, as in `make docs`."""
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-W", "--keep-going", "-n", "-q", "-d", str(out / "trees")]
    done = subprocess.run(
        [*command, str(DOCS), str(out / "html")], capture_output=True, text=True, check=False, timeout=400
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return out / "html"


@pytest.fixture(scope="module")
def pages(site) -> dict[Path, Links]:
    found = {}
    for path in sorted(site.rglob("*.html")):
        found[path] = Links()
        found[path].feed(path.read_text(encoding="utf-8"))
    return found


def test_every_markdown_page_is_in_the_site(site):
    names = {path.relative_to(DOCS).with_suffix(".html") for path in DOCS.rglob("*.md")}
    assert {str(name) for name in names if not (site / name).is_file()} == set()


def test_pages_load_nothing_from_the_network(site, pages):
    loaded = {source for page in pages.values() for source in page.loaded}
    assert {source for source in loaded if re.match(r"(https?:)?//", source)} == set()
    for sheet in site.rglob("*.css"):
        text = sheet.read_text(encoding="utf-8")
        assert re.findall(r"@import[^;]*//|url\(\s*['\"]?(?:https?:)?//[^)]*", text) == [], sheet.name


def test_links_between_pages_resolve(site, pages):
    broken = set()
    for path, page in pages.items():
        for link in page.linked:
            target, _, anchor = unquote(link).partition("#")
            if re.match(r"[a-z]+:", target):
                continue
            other = (path.parent / target.partition("?")[0]).resolve() if target else path
            missing = not other.exists() or (anchor and other in pages and anchor not in pages[other].anchors)
            if missing:
                broken.add(f"{path.relative_to(site)}: {link}")
    assert broken == set()


def test_drawings_equal_their_script_s_output(tmp_path, monkeypatch):
    script = DOCS / "drawings" / "draw.py"
    names = {"__name__": "drawing", "__file__": str(script)}
    exec(compile(script.read_text(encoding="utf-8"), script, "exec"), names)
    names["FOLDER"] = tmp_path
    names["overview"]().save("overview.svg")
    names["way_of_the_data"]().save("way-of-the-data.svg")
    for path in sorted(tmp_path.iterdir()):
        assert path.read_text(encoding="utf-8") == (script.parent / path.name).read_text(encoding="utf-8"), path.name


def test_citation_file_is_valid_and_of_this_version():
    import yaml

    from foundation.version import __version__

    path = ROOT / "CITATION.cff"
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.citation-file-format", str(path)]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert yaml.safe_load(path.read_text(encoding="utf-8"))["version"] == __version__


def test_messages_of_the_troubleshooting_page_exist_in_the_code():
    code = "".join(
        path.read_text() for name in ("foundation", "ingest", "finetune") for path in (ROOT / name).rglob("*.py")
    )
    code = re.sub(r'"\s*\n\s*f?"', "", code)
    rows = re.findall(r"^\| (.*?) \|", (DOCS / "troubleshooting.md").read_text(encoding="utf-8"), re.MULTILINE)
    messages = [message for row in rows for message in re.findall(r"`([^`]+)`", row)]
    assert len(messages) > 30
    assert [message for message in messages if message not in code] == []


def test_every_public_name_is_in_the_reference():
    pages = "".join(path.read_text(encoding="utf-8") for path in (DOCS / "reference").glob("*.md"))
    missing = set()
    for module in MODULES:
        for name in importlib.import_module(module).__all__:
            if not name.isupper() and name[0] != "_" and not re.search(rf"\.{name}$", pages, re.MULTILINE):
                missing.add(f"{module}.{name}")
    assert missing == set()
