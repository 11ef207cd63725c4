"""An interactive map of neurons for a page, drawn with Bokeh: hover, colour by a column, legend filters, lasso, CSV.

The page is self-contained and loads nothing from the network. The JavaScript is Bokeh's, with our callbacks of one
line each.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from foundation.common.errors import FoundationError
from foundation.common.output.neuron_table import PALE, NeuronTable, classes_of, is_number, safe_text, within_budget
from foundation.common.output.pictures import COLOURS, GRID, INK, Picture, drawing
from foundation.common.output.printable import count, printable

FAST = 5000  # units above which WebGL draws
PARTS = ("plot", "colour", "place", "intervals", "note", "save", "listing")

SWITCH_COLOUR = (
    "for (const [name, parts] of Object.entries(groups)) for (const part of parts) part.visible = name == this.value"
)
SWITCH_PLACE = "source.data = {...source.data, x: places.data[this.value + '/x'], y: places.data[this.value + '/y']}"
SHOW_UNIT = (
    "const {renderer} = cb_data, seen = renderer.get_selection_manager().inspectors.get(renderer), "
    "i = renderer.visible ? seen?.indices[0] : null; if (i != null) "
    "{ bars.data = {...bars.data, top: Array.from(isi.slice(i * n, (i + 1) * n), v => v / 2.55)}; "
    "title.text = source.data.c0[i] }"
)
COUNT_CHOSEN = (
    "note.text = this.indices.length ? `${this.indices.length} of ${total} units chosen` "
    ": 'Draw a loop around units to list them.'"
)
SAVE = (
    "const chosen = [...source.selected.indices].sort((a, b) => a - b), "
    "rows = chosen.length ? chosen : [...source.data.c0.keys()], "
    "cell = v => '\"' + String(v).replace(/^[=+@]/, \"'$&\").replaceAll('\"', '\"\"') + '\"', "
    "lines = [names, ...rows.map(i => names.map((_, k) => source.data['c' + k][i]))].map(r => r.map(cell).join(',')); "
    "Object.assign(document.createElement('a'), {download: 'units.csv', "
    "href: URL.createObjectURL(new Blob([lines.join('\\r\\n')], {type: 'text/csv'}))}).click()"
)


@dataclass(frozen=True)
class MapParts:
    """The parts of an interactive map that a template puts into its page.

    Args:
        library: Bokeh's own scripts, for the page's head.
        script: the script that draws this map.
        divs: the ``<div>`` of each of `PARTS`; empty for a missing part.
        still: a static picture for readers without JavaScript.
    """

    library: str
    script: str
    divs: dict[str, str]
    still: Picture


def neuron_map(table: NeuronTable) -> MapParts:
    """Make an interactive map of neurons.

    Hovering names a unit and draws its intervals between spikes; a menu colours units by any column; a click on an
    entry of the legend hides or shows its units; a lasso lists units in a table, which can be saved as CSV.

    Args:
        table: the units.

    Returns:
        The parts for a template, without network addresses.

    Raises:
        FoundationError: if Bokeh is not installed.
    """
    try:
        import bokeh.models as bm
        from bokeh.embed import components
        from bokeh.resources import Resources
    except ModuleNotFoundError as error:
        raise FoundationError(
            f"the map of neurons needs the package {error.name!r}: pip install 'neural-foundation[finetune]'"
        ) from error
    table = within_budget(table)
    script, divs = components(_Map(table, bm).roots, wrap_script=False)
    # Text from a file must not end the script.
    script = script.replace("</", "<\\/").replace("<!--", "<\\!--")
    parts = ["bokeh", "bokeh-widgets", "bokeh-tables", *(["bokeh-gl"] if table.n_units > FAST else [])]
    library = Resources(mode="inline", components=parts).render_js()
    return MapParts(library, script, {**dict.fromkeys(PARTS, ""), **divs}, still_map(table))


class _Map:
    """The Bokeh models of a map, with its roots by name."""

    def __init__(self, table: NeuronTable, bm: Any) -> None:
        self.table, self.bm = table, bm
        self.names = list(table.columns)
        places = {}
        for k, xy_N2 in enumerate(table.layouts.values()):
            places[f"{k}/x"], places[f"{k}/y"] = (_places(xy_N2[:, axis]) for axis in (0, 1))
        # Columns get safe names, since names in files may hold anything.
        self.key = {name: f"c{k}" for k, name in enumerate(self.names)}
        data = {self.key[name]: _cells(values) for name, values in table.columns.items()}
        self.source = bm.ColumnDataSource({"x": places["0/x"], "y": places["0/y"], **data})
        self.figure = self._figure()
        self.groups = self._groups()
        self.roots: dict[str, Any] = {"plot": self.figure, **self._list()}
        if len(self.groups) > 1:
            options = [(name, safe_text(name)) for name in self.groups]
            menu = bm.Select(title="Colour by", value=table.first_colour, options=options, sizing_mode="stretch_width")
            menu.js_on_change("value", bm.CustomJS(args={"groups": self.groups}, code=SWITCH_COLOUR))
            self.roots["colour"] = menu
        if len(table.layouts) > 1:
            options = [(str(k), safe_text(name)) for k, name in enumerate(table.layouts)]
            menu = bm.Select(title="Placed by", value="0", options=options, sizing_mode="stretch_width")
            args = {"source": self.source, "places": bm.ColumnDataSource(places)}
            menu.js_on_change("value", bm.CustomJS(args=args, code=SWITCH_PLACE))
            self.roots["place"] = menu

    def _figure(self) -> Any:
        from bokeh.plotting import figure

        bm = self.bm
        lasso, zoom = bm.LassoSelectTool(continuous=False), bm.WheelZoomTool()
        tools = [lasso, bm.PanTool(), zoom, bm.TapTool(), bm.ResetTool(), self._hover()]
        backend = "webgl" if self.table.n_units > FAST else "canvas"
        plot = figure(
            height=520, sizing_mode="stretch_width", tools=tools, output_backend=backend, match_aspect=False,
            active_drag=lasso, active_scroll=None, toolbar_location="above",
        )  # fmt: skip
        plot.toolbar.logo = None
        plot.axis.visible = False
        plot.grid.grid_line_color = None
        plot.outline_line_color = GRID
        plot.background_fill_color = plot.border_fill_color = "white"
        plot.min_border = 4
        return plot

    def _hover(self) -> Any:
        bm, table = self.bm, self.table
        columns = zip(self.names, table.columns.values(), strict=True)
        shown = [(safe_text(name), f"@c{k}{_format(values)}") for k, (name, values) in enumerate(columns)]
        hover = bm.HoverTool(tooltips=shown[:10], limit=1)
        if table.isi_NB is not None and len(table.isi_edges) > 1:
            hover.callback = self._intervals()
        return hover

    def _intervals(self) -> Any:
        from bokeh.plotting import figure

        bm, table = self.bm, self.table
        assert table.isi_NB is not None
        edges_ms = 1000 * table.isi_edges
        n_bins = table.isi_NB.shape[1]
        bars = bm.ColumnDataSource({"left": edges_ms[:-1], "right": edges_ms[1:], "top": np.zeros(n_bins)})
        plot = figure(
            height=220, sizing_mode="stretch_width", x_axis_type="log", tools="", toolbar_location=None,
            title="Point at a unit", x_range=(edges_ms[0], edges_ms[-1]), y_range=(0, 105),
        )  # fmt: skip
        plot.quad(left="left", right="right", bottom=0, top="top", source=bars, color=COLOURS[0], line_color="white")
        plot.xaxis.axis_label = "interval between spikes (ms)"
        plot.yaxis.axis_label = "% of the fullest bin"
        plot.xaxis.ticker = bm.FixedTicker(ticks=[1, 10, 100, 1000, 10000])
        plot.xaxis.formatter = bm.NumeralTickFormatter(format="0,0")
        plot.grid.grid_line_color = None
        plot.outline_line_color = None
        plot.title.text_font_size, plot.title.text_color = "13px", INK
        flat = np.ascontiguousarray(table.isi_NB, dtype=np.uint8).ravel()
        args = {"isi": flat, "n": n_bins, "bars": bars, "title": plot.title, "source": self.source}
        self.interval_plot = plot
        return bm.CustomJS(args=args, code=SHOW_UNIT)

    def _groups(self) -> dict[str, list[Any]]:
        """Return the renderers and legend of each column that can colour units; only the first column's are visible."""
        table = self.table
        groups: dict[str, list[Any]] = {}
        for name in table.colourable:
            values = table.columns[name]
            groups[name] = self._by_number(name, values) if is_number(values) else self._by_class(name, values)
        if not groups:
            groups[""] = [self._points(COLOURS[0], "circle")]
        for name, parts in groups.items():
            for part in parts:
                part.visible = name == table.first_colour
        return groups

    def _points(self, colour: Any, marker: str, view: Any = None) -> Any:
        view = self.bm.CDSView() if view is None else view
        size = 8 if self.table.n_units <= 500 else 6 if self.table.n_units <= FAST else 3
        line = "white" if self.table.n_units <= FAST else None
        looks = {"size": size, "marker": marker, "fill_color": colour, "line_color": line, "line_width": 0.4}
        return self.figure.scatter(
            "x", "y", source=self.source, view=view, fill_alpha=0.85, **looks,
            nonselection_fill_alpha=0.12, nonselection_line_alpha=0.1,
        )  # fmt: skip

    def _by_class(self, name: str, values: np.ndarray) -> list[Any]:
        bm = self.bm
        items, code = [], f"{self.key[name]}_class"  # in a byte each
        self.source.data[code] = np.zeros(len(values), dtype=np.uint8)
        for k, (label, where, colour, marker) in enumerate(classes_of(values)):
            self.source.data[code][where] = k
            points = self._points(colour, marker, bm.CDSView(filter=bm.GroupFilter(column_name=code, group=k)))
            text = f"{_short(label)} ({int(where.sum()):,})"
            items.append(bm.LegendItem(label=text, renderers=[points]))
        legend = bm.Legend(
            items=items, click_policy="hide", ncols=3 if len(items) > 2 else len(items), title=safe_text(name),
            border_line_color=None, label_text_font_size="12px", title_text_font_style="bold", margin=2, padding=4,
            glyph_width=14, glyph_height=14, label_height=16, spacing=4,
        )  # fmt: skip
        legend.location, legend.background_fill_alpha = "bottom_left", 0.0
        self.figure.add_layout(legend, "below")
        return [*(item.renderers[0] for item in items), legend]

    def _by_number(self, name: str, values: np.ndarray) -> list[Any]:
        from bokeh.palettes import Cividis256

        bm = self.bm
        there = values[np.isfinite(values)].astype(np.float64)
        low, high = np.percentile(there, (1, 99))
        log = low > 0 and high > 20 * low
        kind = bm.LogColorMapper if log else bm.LinearColorMapper
        mapper = kind(palette=Cividis256, low=float(low), high=float(max(high, low + 1e-9)), nan_color=PALE)
        points = self._points({"field": self.key[name], "transform": mapper}, "circle")
        bar = bm.ColorBar(
            color_mapper=mapper, orientation="horizontal", height=10, title=safe_text(name), padding=6,
            title_text_font_style="bold",
        )  # fmt: skip
        self.figure.add_layout(bar, "below")
        return [points, bar]

    def _list(self) -> dict[str, Any]:
        """Return the table of chosen units, the note above it, and its save button."""
        bm, table = self.bm, self.table
        chosen = bm.IndexFilter(indices=[])
        self.source.selected.js_link("indices", chosen, "indices")
        columns = []
        for name, values in table.columns.items():
            formatter = bm.NumberFormatter(format="0.[00]") if is_number(values) else bm.StringFormatter()
            width = 80 if is_number(values) else 130
            columns.append(
                bm.TableColumn(field=self.key[name], title=escape(safe_text(name)), formatter=formatter, width=width)
            )
        listing = bm.DataTable(
            source=self.source, view=bm.CDSView(filter=chosen), columns=columns, selectable=False, height=220,
            sizing_mode="stretch_width", autosize_mode="none", index_position=None, row_height=24,
        )  # fmt: skip
        note = bm.Div(text="Draw a loop around units to list them.")
        names_in_script = {"note": note, "total": f"{table.n_units:,}"}
        self.source.selected.js_on_change("indices", bm.CustomJS(args=names_in_script, code=COUNT_CHOSEN))
        names = [safe_text(name) for name in self.names]
        save = bm.Button(label="Save as CSV", width=120)
        save.js_on_event("button_click", bm.CustomJS(args={"source": self.source, "names": names}, code=SAVE))
        more = {"intervals": self.interval_plot} if hasattr(self, "interval_plot") else {}
        return {"note": note, "save": save, "listing": listing, **more}


def still_map(table: NeuronTable) -> Picture:
    """Draw the map's first view, for readers without JavaScript."""
    name = table.first_colour
    layout, xy_N2 = next(iter(table.layouts.items()))
    values = table.columns[name] if name else np.array([""] * table.n_units)
    size = 26 if table.n_units <= 500 else 8 if table.n_units <= FAST else 1.5
    with drawing(7.4, 4.6, palette=64) as sheet:
        axes = sheet.figure.add_subplot()
        looks: dict[str, Any] = {"s": size, "alpha": 0.85, "linewidths": 0.2, "edgecolors": "white"}
        if name and is_number(values):
            shown = axes.scatter(xy_N2[:, 0], xy_N2[:, 1], c=values, cmap="cividis", **looks)
            sheet.figure.colorbar(shown, ax=axes, fraction=0.04).set_label(printable(name))
        elif name:
            for label, where, colour, marker in classes_of(values):
                text = f"{safe_text(label)} ({int(where.sum()):,})"
                shape = "o" if marker == "circle" else "^"
                axes.scatter(*xy_N2[where].T, color=colour, marker=shape, label=text, **looks)
            axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0), markerscale=1.2)
        else:
            axes.scatter(*xy_N2.T, color=COLOURS[0], **looks)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_title(f"Placed by {layout}", fontsize=10, loc="left")
    colouring = f", coloured by {name}" if name else ""
    alt = f"Map of {count(table.n_units, 'unit')}, placed by {layout}{colouring}."
    return Picture(sheet.content, alt, "The map is interactive where the browser runs JavaScript.")


def _places(values: np.ndarray) -> np.ndarray:
    """Return positions along an axis without tick labels as 65,536 levels, in half the bytes of floats."""
    low, high = float(values.min(initial=np.inf)), float(values.max(initial=-np.inf))
    return np.round((values - low) / max(high - low, 1e-12) * 65535).astype(np.uint16)


def _cells(values: np.ndarray) -> Any:
    """Return a column for Bokeh: numbers as float32, text without formulas."""
    if is_number(values):
        return values.astype(np.int32) if values.dtype.kind in "iu" else values.astype(np.float32)
    known = {text: safe_text(text) for text in set(values.astype(str).tolist())}
    return [known[text] for text in values.astype(str).tolist()]


def _short(label: str) -> str:
    """Return a class's name shortened for a legend on a phone."""
    text = safe_text(label)
    return text if len(text) <= 18 else text[:17] + "…"


def _format(values: np.ndarray) -> str:
    return "{0.[00]}" if is_number(values) else ""
