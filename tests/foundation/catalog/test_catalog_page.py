"""The catalog's page: contents, escaping of text from files, and reading of only the blocks that it shows."""

import base64
import io
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from foundation.catalog import catalog_card
from foundation.catalog import catalog_pictures as catalog_figures
from foundation.catalog.catalog_card import spikes_between, stretch
from foundation.catalog.catalog_page import render, write_page
from foundation.common.errors import ConfigError
from foundation.store import (
    Catalog,
    Interval,
    IrregularTimeSeries,
    RegularTimeSeries,
    Source,
    Spikes,
    Store,
    StoredRecording,
    Subject,
    Units,
    write_recording,
)
from foundation.store.stored_spikes import StoredSpikes

EVIL = '<script>alert(\'x\')</script>" onload="y" {{ 7 * 7 }} &amp;'
CONTROL = {
    "counts": {"units_dropped": 70, "duplicate_spikes": 5, "gaps": 1, "silences": 0, "clock_jumps": 1},
    "units_in_file": 82,
    "units_kept": 12,
    "units_with_duplicates": 1,
    "dropped": [{"unit": n, "id": 100 + n, "rule": "quality", "value": EVIL, "limit": "good"} for n in range(70)],
    "unknown": {"least_snr": 2},
    "not_applied": {"most_amplitude_cutoff": "no column"},
    "duration": 50.0,
    "gaps": {"count": 1, "seconds": 10.0, "longest": 10.0, "spans": [[20.0, 30.0]]},
    "silences": None,
    "clock_jumps": {EVIL: {"count": 1, "seconds": 3.0, "longest": 3.0, "spans": [[1.0, 4.0]]}},
}


class Page(HTMLParser):
    """Tags with their attributes, and the text outside of scripts and styles."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text, self.inside = [], "", []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.inside.append(tag)

    def handle_endtag(self, tag):
        while self.inside and self.inside.pop() != tag:
            pass

    def handle_data(self, data):
        if not {"script", "style"} & set(self.inside[-1:]):
            self.text += data

    def of(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture
def catalog(tmp_path, make_recording):
    """A recording whose texts are all markup, one of counts, and one of values."""
    store = Store(tmp_path / "store", create=True)
    evil = make_recording(
        0,
        source=Source(path=f"{EVIL}.nwb", digest="0", archive=EVIL, dandiset=EVIL, version=EVIL, licence=EVIL),
        subject=Subject(EVIL, namespace=EVIL, species=EVIL, sex="F"),
        session=EVIL,
        units=Units(12, {"location": np.array([EVIL] * 6 + [""] * 6), "qc_rate": np.linspace(0, 5, 12)}),
        domain=Interval([0.0, 30.0], [20.0, 60.0]),
        behavior={"position": IrregularTimeSeries(np.arange(9.0), np.zeros((9, 2)), EVIL)},
        intervals={"trials": Interval([0.0], [1.0], {EVIL.replace("/", "|"): np.array([1.0])})},
        quality={EVIL: 3.0},
        control=CONTROL,
        description=EVIL,
        lab=EVIL,
        institution=EVIL,
        start_time=EVIL,
    )
    write_recording(store, evil, EVIL)
    for k, kind in enumerate(("counts", "values")):
        data = np.random.default_rng(k).poisson(2.0, (500, 4)).astype(np.float32)
        series = RegularTimeSeries(data, rate=0.25)
        sampled = make_recording(
            k + 1, spikes=None, units=Units(4), activity=series, activity_kind=kind, domain=series.domain
        )
        write_recording(store, sampled)
    return Catalog.build(store)


def pictures(page):
    found = []
    for image in page.of("img"):
        assert image["src"].startswith("data:image/png;base64,")
        content = base64.b64decode(image["src"].split(",", 1)[1])
        found.append((Image.open(io.BytesIO(content)).convert("RGB"), image["alt"]))
    return found


def test_text_from_files_is_escaped(catalog):
    text = render(catalog)
    page = Page(text)
    assert len(page.of("script")) == 1  # the page's own
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert EVIL in page.text
    assert "49" not in page.text.split("Source")[0]
    assert "&lt;script&gt;alert" in text


def test_page_loads_nothing_from_the_network(catalog):
    text = render(catalog)
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)""", text)
    assert "@import" not in text
    assert "url(" not in text
    policy = next(a for a in Page(text).of("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert policy["content"].startswith("default-src 'none'")


def test_every_recording_has_pictures_with_alt_text(catalog):
    page = Page(render(catalog))
    assert len(page.of("article")) == 3
    shown = pictures(page)
    assert len(shown) == 5  # sampled values have no rates
    assert all(len(alt) > 40 and picture.width > 300 for picture, alt in shown)
    alts = [alt for _, alt in shown]
    assert sum(alt.startswith("Raster of all 12 units, ") for alt in alts) == 1
    assert sum(alt.startswith("Map of sampled counts of all 4 units, ") for alt in alts) == 1
    assert sum("Histogram of the firing rates" in alt for alt in alts) == 2


def test_page_lists_dropped_units_and_findings(catalog):
    text = Page(render(catalog)).text
    for message in (
        "12 kept of 82",
        "and 10 more",
        "1: 10 s in all, the longest 10 s",
        "not looked for",
        "5 in 1 unit",
        "most_amplitude_cutoff: not applied",
        "least_snr: unknown",
        "ingested without quality control",
        "position: 9 samples in",
        "trials: 1 interval with",
    ):
        assert message in text, message


def test_equal_stores_give_equal_pages(catalog):
    assert render(catalog) == render(Catalog.build(catalog.store))


def test_limit_keeps_the_full_table(catalog):
    page = Page(render(catalog, limit=1))
    assert len(page.of("article")) == 1
    assert len(page.of("tr")) >= 4
    assert "The first 1 recording of 3 are shown" in page.text
    assert len(Page(render(catalog, limit=0)).of("article")) == 0
    assert len(Page(render(catalog.where("n_units > 1000"))).of("article")) == 0


def test_only_shown_blocks_are_read(tmp_path, monkeypatch, make_recording):
    rng = np.random.default_rng(0)
    trains = [np.sort(rng.uniform(0, 600, 60_000)) for _ in range(10)]
    recording = make_recording(0, spikes=Spikes.from_trains(trains), units=Units(10), domain=Interval.single(0, 600))
    store = Store(tmp_path / "store", create=True)
    stored = StoredRecording(store, write_recording(store, recording))
    read = []
    real = StoredSpikes.block
    monkeypatch.setattr(StoredSpikes, "block", lambda self, k: read.append(k) or real(self, k))
    start, end = stretch(stored.domain, 20.0)
    assert (start, end) == (290.0, 310.0)
    times, unit = spikes_between(stored, start, end)
    assert len(read) <= 2 < StoredSpikes(stored).n_blocks
    for n, train in enumerate(trains):
        assert np.sort(times[unit == n]).tolist() == train[(train >= start) & (train < end)].tolist()
    monkeypatch.setattr(StoredRecording, "spike_blocks", property(lambda _: pytest.fail("all spikes were read")))
    catalog_card.make_card(stored, "")


def test_raster_shows_spikes_at_their_times():
    spikes = (np.array([5.0]), np.array([0]), np.array(["a", "b"]), 0.0, 10.0)
    shown = Image.open(io.BytesIO(catalog_figures.raster(*spikes, Interval.single(0, 10)))).convert("RGB")
    pixels = np.asarray(shown).astype(int)
    blue = np.argwhere((pixels[..., 2] > 120) & (pixels[..., 0] < 60))
    drawn = blue[blue[:, 1] < 0.9 * shown.width]  # the label's name is to the right of it
    assert drawn[:, 1].std() < 2
    assert 0.4 < drawn[:, 1].mean() / shown.width < 0.6
    assert drawn[:, 0].max() < 0.55 * shown.height  # the upper of two rows
    gap = catalog_figures.raster(*spikes, Interval([0.0, 6.0], [4.0, 10.0]))
    greys = (np.asarray(Image.open(io.BytesIO(gap)).convert("RGB")) == (227, 230, 234)).all(axis=2)
    assert 0.1 < greys.mean() < 0.25  # a fifth of the axes


def test_damaged_recording_does_not_break_the_page(catalog):
    record = catalog.records[0]
    Path(catalog.store.path("recordings", record.digest, "domain/start/c/0")).write_bytes(b"torn")
    page = Page(render(catalog))
    assert page.text.count("It cannot be shown") == 1
    assert len(page.of("article")) == 3


def test_failed_write_leaves_no_page(tmp_path, catalog):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="page cannot be written"):
        write_page(catalog, tmp_path / "file" / "page.html")
    written = write_page(catalog, tmp_path / "new" / "page.html", chosen_by="n_units < 3")
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["page.html"]
    assert "n_units &lt; 3" in written.read_text()


def test_missing_packages_name_the_extra(small_store, tmp_path):
    code = (
        "import sys; sys.modules['jinja2'] = None; from foundation.cli.commands import main; "
        f"sys.exit(main(['catalog', {str(small_store)!r}, '--page', {str(tmp_path / 'page.html')!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "the page needs the package 'jinja2': pip install 'neural-foundation[finetune]'" in done.stderr


@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
def test_table_can_be_searched_and_sorted_by_keyboard_or_mouse(small_store, tmp_path):
    text = render(Catalog.open(Store(small_store)))
    after = """<script>
    const find = document.getElementById("find");
    find.value = "MOUSE1"; find.dispatchEvent(new Event("input"));
    document.body.dataset.found = document.getElementById("found").textContent + " " +
        [...document.querySelectorAll("article")].filter((a) => !a.hidden).length;
    find.value = ""; find.dispatchEvent(new Event("input"));
    const button = [...document.querySelectorAll("th button")].find((b) => b.textContent === "spikes");
    button.focus(); button.click(); button.click();
    document.body.dataset.order = [...document.querySelectorAll("#list tbody tr")].map((r) => r.cells[0].textContent);
    document.body.dataset.sort = button.parentElement.getAttribute("aria-sort");
    </script></body>"""
    page = tmp_path / "page.html"
    page.write_text(text.replace("</body>", after))
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    body = Page(done.stdout).of("body")[0]
    assert body["data-found"] == "1 of 4 1"
    assert body["data-sort"] == "descending"
    records = sorted(Catalog.open(Store(small_store)).records, key=lambda r: -r.n_spikes)
    assert body["data-order"].split(",") == [r.subject for r in records]


@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
def test_nothing_is_cut_off_in_a_wide_window(catalog, tmp_path):
    """Tables of the cards fit their columns, and pictures are there when the page is first painted."""
    text = render(catalog)
    assert 'decoding="async"' not in text
    wide = """<script>
    document.querySelectorAll("article").forEach((a) => { a.style.contentVisibility = "visible"; });
    const boxes = [...document.querySelectorAll(".columns .wide")];
    document.body.dataset.boxes = boxes.length;
    document.body.dataset.cut = boxes.filter((b) => b.scrollWidth > b.clientWidth).length;
    document.querySelectorAll(".columns td.n").forEach((cell, k) => { if (k % 4 < 3) cell.textContent = "0.0059"; });
    document.body.dataset.cut_long = boxes.filter((b) => b.scrollWidth > b.clientWidth).length;
    </script></body>"""
    page = tmp_path / "page.html"
    page.write_text(text.replace("</body>", wide))
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1300,900", "--dump-dom"]
    done = subprocess.run([*command, page.as_uri()], capture_output=True, text=True, check=True, timeout=120)
    body = Page(done.stdout).of("body")[0]
    assert int(body["data-boxes"]) > 0
    assert (body["data-cut"], body["data-cut_long"]) == ("0", "0")
