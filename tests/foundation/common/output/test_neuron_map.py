"""The map of neurons in a browser: hover, colours, legend, lasso, CSV; no errors and no requests."""

import csv
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from foundation.common.errors import FoundationError
from foundation.common.output.neuron_map import neuron_map
from foundation.common.output.neuron_table import MAX_CLASSES, NeuronTable, classes_of, safe_text
from foundation.common.output.pages import html_template

HOSTILE = "$$\\alpha$$ <img src=http://localhost:9/x onerror=alert(1)> \\(x\\) @{c0} </script>"
PAGE = """<!doctype html><html><head><meta charset="utf-8"><title>map</title>
<style>:root { --line: #ddd } body { margin: 0; font: 16px sans-serif } %s</style></head>
<body>%s</body></html>"""
FIGURE = """
const figure = Bokeh.documents[0].roots().find(r => r.below && r.below.some(b => b.type == "Legend"));
"""


def table_of(n_units: int, seed: int = 0) -> NeuronTable:
    rng = np.random.default_rng(seed)
    region = np.array(["VISp", "CA1", HOSTILE])[np.arange(n_units) % 3]
    kind = np.array(["PV", "SST"])[np.arange(n_units) % 2]
    place = np.stack([np.arange(n_units) % 10, np.arange(n_units) // 10], axis=1).astype(float)
    columns = {
        "neuron": np.array([f"mouse {HOSTILE[:3]} · {k}" for k in range(n_units)]),
        "region": region,
        "rate (Hz)": rng.lognormal(1, 1, n_units),
        f"kind {HOSTILE}": kind,
    }
    isi_NB = np.zeros((n_units, 4), dtype=np.uint8)
    isi_NB[:, 1] = 255
    isi_NB[:, 2] = np.arange(n_units) % 255
    return NeuronTable({"plane": place, f"mirrored {HOSTILE}": -place}, columns, isi_NB, np.geomspace(1e-3, 10, 5))


def write_page(table: NeuronTable, path: Path) -> Path:
    style = html_template("foundation", "neuron_map.css").render()
    path.write_text(PAGE % (style, html_template("foundation", "neuron_map.html.j2").render(map=neuron_map(table))))
    return path


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    return write_page(table_of(60), tmp_path_factory.mktemp("map") / "map.html")


@pytest.fixture
def shown(browser, open_page, page):
    """The page after Bokeh has drawn it."""
    wrong = open_page(page)
    wait_for(browser, "return Bokeh.documents.length && Bokeh.documents[0].is_idle")
    return wrong


def wait_for(browser, script: str, seconds: float = 20.0):
    """Wait until a script returns a true value, and return the value."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        found = browser.execute_script(script)
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"never true: {script}")


def place_on_screen(browser, row: int) -> list[float]:
    """Position of a unit in pixels of the window."""
    return browser.execute_script(
        FIGURE
        + """
        const view = Bokeh.index.find_one(figure), frame = view.frame;
        const box = view.canvas_view.el.getBoundingClientRect();
        const data = figure.renderers[0].data_source.data, k = arguments[0];
        return [box.x + frame.x_scale.compute(data.x[k]), box.y + frame.y_scale.compute(data.y[k])]
        """,
        row,
    )


def pointer(browser):
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.actions.action_builder import ActionBuilder

    chain = ActionChains(browser, duration=40)
    assert isinstance(chain.w3c_actions, ActionBuilder)
    return chain


def move(chain, place: list[float]):
    chain.w3c_actions.pointer_action.move_to_location(round(place[0]), round(place[1]))


def in_shadows(browser, selector: str):
    """Elements under the page's shadow roots, where Bokeh puts its own."""
    return browser.execute_script(
        """
        const found = [], look = root => { found.push(...root.querySelectorAll(arguments[0]));
            for (const e of root.querySelectorAll("*")) if (e.shadowRoot) look(e.shadowRoot) };
        look(document); return found
        """,
        selector,
    )


def lasso(browser, rows: list[int], margin: float = 14.0) -> None:
    """Draw a loop around some units with the mouse."""
    places = np.array([place_on_screen(browser, row) for row in rows])
    (left, top), (right, bottom) = places.min(axis=0) - margin, places.max(axis=0) + margin
    chain = pointer(browser)
    corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top + 4)]
    move(chain, corners[0])
    chain.w3c_actions.pointer_action.pointer_down()
    for (x0, y0), (x1, y1) in pairwise(corners):
        for step in np.linspace(0.25, 1, 4):
            move(chain, [x0 + (x1 - x0) * step, y0 + (y1 - y0) * step])
    chain.w3c_actions.pointer_action.pointer_up()
    chain.perform()


def test_page_makes_no_requests_and_has_no_errors(shown, wrong_in_page, browser):
    assert shown == []
    time.sleep(0.5)
    assert wrong_in_page() == []
    assert not browser.execute_script("return 'MathJax' in window")


def test_hover_names_a_unit_and_draws_its_intervals(shown, browser):
    chain = pointer(browser)
    move(chain, place_on_screen(browser, 27))
    chain.perform()
    (tip,) = wait_for(browser, "return true") and in_shadows(browser, ".bk-tooltip-content, .bk-tooltip-row-value")[:1]
    text = browser.execute_script("return arguments[0].getRootNode().textContent", tip)
    assert "· 27" in text
    assert "VISp" in text  # 27 % 3 == 0
    bars = browser.execute_script(
        "for (const r of Bokeh.documents[0].roots()) if (r.title && r.title.text.includes('27')) "
        "return Array.from(r.renderers[0].data_source.data.top)"
    )
    assert bars == pytest.approx([0, 100, 27 / 2.55, 0], abs=0.1)


def test_menu_colours_by_another_column(shown, browser):
    from selenium.webdriver.support.ui import Select

    visible = FIGURE + "return figure.below.filter(b => b.type == 'Legend' && b.visible).map(b => b.title)"
    assert browser.execute_script(visible) == ["region"]
    menu = Select(next(e for e in in_shadows(browser, "select") if "rate (Hz)" in e.text))
    menu.select_by_visible_text("rate (Hz)")
    bars = FIGURE + "return figure.below.filter(b => b.type == 'ColorBar' && b.visible).map(b => b.title)"
    assert wait_for(browser, bars) == ["rate (Hz)"]
    assert browser.execute_script(visible) == []
    menu.select_by_index(2)
    wait_for(browser, visible + ".length == 1")
    assert browser.execute_script(visible)[0].startswith("kind ")


def test_menu_switches_the_layout(shown, browser):
    from selenium.webdriver.support.ui import Select

    before = place_on_screen(browser, 0)
    menu = Select(next(e for e in in_shadows(browser, "select") if "mirrored" in e.text))
    menu.select_by_index(1)
    until = time.monotonic() + 10
    while place_on_screen(browser, 0) == before and time.monotonic() < until:
        time.sleep(0.1)
    after = place_on_screen(browser, 0)
    assert after[0] > before[0] + 100
    assert after[1] < before[1] - 50


def test_legend_click_hides_a_class(shown, browser):
    count = FIGURE + "return figure.renderers.filter(r => r.visible).length"
    assert browser.execute_script(count) == 3
    entries = [e for e in in_shadows(browser, ".bk-item, .bk-label") if "CA1" in e.text]
    entries[0].click()
    wait_for(browser, count + " == 2")
    lasso(browser, [0, 1, 2])
    rows = wait_for(browser, FIGURE + "return figure.renderers[0].data_source.selected.indices")
    assert sorted(rows) == [0, 2]  # 1 is hidden


def test_lasso_lists_units_and_saves_them(shown, browser, wrong_in_page):
    lasso(browser, [10, 11, 12])
    read_text = "for (const r of Bokeh.documents[0].roots()) if (r.text && r.text.includes('chosen')) return r.text"
    assert wait_for(browser, read_text) == "3 of 60 units chosen"
    listed = [cell.text for cell in in_shadows(browser, ".slick-row .slick-cell")]
    assert [text.split(" · ")[1] for text in listed if " · " in text] == ["10", "11", "12"]
    next(b for b in in_shadows(browser, "button") if "CSV" in b.text).click()
    saved = browser.downloads / "units.csv"
    until = time.monotonic() + 20
    while not saved.is_file() and time.monotonic() < until:
        time.sleep(0.1)
    rows = list(csv.DictReader(saved.read_text(encoding="utf-8").splitlines()))
    saved.unlink()
    assert [row["neuron"].split(" · ")[1] for row in rows] == ["10", "11", "12"]
    assert [row["region"] for row in rows] == ["CA1", safe_text(HOSTILE), "VISp"]
    assert [float(row["rate (Hz)"]) for row in rows] == pytest.approx(
        table_of(60).columns["rate (Hz)"][10:13], rel=1e-5
    )
    assert wrong_in_page() == []


def test_map_fits_a_phone_and_shows_a_picture_without_scripts(browser, open_page, page):
    assert open_page(page, width=390, height=844) == []
    wait_for(browser, "return Bokeh.documents.length && Bokeh.documents[0].is_idle")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get(page.as_uri())
        from selenium.webdriver.common.by import By

        assert browser.find_element(By.CSS_SELECTOR, "noscript img").size["width"] > 200
        assert not browser.find_element(By.CSS_SELECTOR, ".neurons").is_displayed()
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_fifty_thousand_units_stay_below_7_5_megabytes(tmp_path):
    """This keeps the page around the map below 8 MB."""
    n_units = 50_000
    table = table_of(n_units)
    region = np.array([f"region {k}" for k in range(40)])[np.arange(n_units) % 40]
    animal = np.array([f"mouse{k % 30}" for k in range(n_units)])
    columns = {"neuron": np.arange(n_units), "region": region, "animal": animal, "rate": table.columns["rate (Hz)"]}
    columns |= {f"column {k}": np.array([f"{k} {i % 1000}" for i in range(n_units)]) for k in range(8)}
    isi_NB = np.random.default_rng(0).integers(0, 255, (n_units, 20)).astype(np.uint8)
    layouts = {f"run {k}": table.layouts["plane"] for k in range(4)}
    page = write_page(NeuronTable(layouts, columns, isi_NB, np.geomspace(1e-3, 10, 21)), tmp_path / "map.html")
    assert page.stat().st_size < 7.5e6
    assert "column 7" not in page.read_text()  # columns that do not fit are left out, from the end


def test_column_of_another_length_is_refused():
    with pytest.raises(FoundationError, match="layout 'plane' has 2 rows: expected 3"):
        NeuronTable({"plane": np.zeros((2, 2))}, {"neuron": np.array(["a", "b", "c"])})


def test_rare_classes_share_one_group():
    names = [f"c{k:02d}" for k in range(MAX_CLASSES + 5)]
    found = classes_of(np.array(names))
    assert [name for name, *_ in found] == [*names[:MAX_CLASSES], "other"]
    assert sum(int(where.sum()) for _, where, _, _ in found) == len(names)
