"""Draw the two drawings of the site as SVG: `python docs/drawings/draw.py` writes them beside this file.

Pages take them in as they are, so colours follow the page's theme, light or dark; shown as pictures they follow the
reader's system. Coordinates are pixels from the upper left corner.
"""

from __future__ import annotations

import random
from pathlib import Path

FOLDER = Path(__file__).parent
STYLE = """
.drawing { --ink: var(--pst-color-text-base, #222832); --soft: var(--pst-color-text-muted, #48566b);
  --panel: var(--pst-color-surface, #f3f4f5); --line: var(--pst-color-border, #c9c9c9);
  --a: #0072b2; --b: #d55e00; --c: #008a63; --d: #a8528a; max-width: 100%; height: auto; }
@media (prefers-color-scheme: dark) { .drawing { --ink: var(--pst-color-text-base, #ced6dd);
  --soft: var(--pst-color-text-muted, #9ca4af); --panel: var(--pst-color-surface, #29313d);
  --line: var(--pst-color-border, #48566b); } }
html[data-theme="dark"] .drawing { --a: #56b4e9; --b: #f0914a; --c: #2fc79a; --d: #d98cbf; }
.drawing text { font-family: system-ui, -apple-system, "Segoe UI", sans-serif; fill: var(--ink); }
.drawing .small { font-size: 13px; fill: var(--soft); } .drawing .name { font-size: 15px; font-weight: 600; }
.drawing .code { font-family: ui-monospace, Menlo, Consolas, monospace; font-size: 12px; fill: var(--soft); }
.drawing .panel { fill: var(--panel); stroke: var(--line); }
.drawing .arrow { stroke: var(--soft); fill: none; stroke-width: 2; }
.drawing .head { fill: var(--soft); } .drawing .frame { fill: none; stroke: var(--ink); stroke-width: 1.5; }
.drawing .grid { fill: none; stroke: var(--line); }
""".strip()
COLOURS = ("a", "b", "c", "d")


class Drawing:
    """SVG that is written part by part."""

    def __init__(self, width: int, height: int, title: str, description: str) -> None:
        self.random = random.Random(7)
        self.parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" class="drawing" viewBox="0 0 {width} {height}" width="{width}" '
            f'height="{height}" role="img" aria-label="{description}">',
            f"<title>{title}</title>",
            f"<style>{STYLE}</style>",
        ]

    def add(self, part: str) -> None:
        """Add a part."""
        self.parts.append(part)

    def text(self, x: float, y: float, text: str, kind: str = "small", anchor: str = "middle") -> None:
        """Write a line of text."""
        self.add(f'<text x="{x:g}" y="{y:g}" class="{kind}" text-anchor="{anchor}">{text}</text>')

    def panel(self, x: float, y: float, width: float, height: float, kind: str = "panel") -> None:
        """Draw a rounded box."""
        self.add(f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="8" class="{kind}"/>')

    def arrow(self, x: float, y: float, end: float, down: float = 0) -> None:
        """Draw an arrow to the right, to a place that may be lower."""
        low = y + down
        middle = (x + end - 6) / 2
        self.add(f'<path d="M{x:g} {y:g} C{middle:g} {y:g} {middle:g} {low:g} {end - 6:g} {low:g}" class="arrow"/>')
        self.add(f'<path d="M{end - 8:g} {low - 5:g} L{end:g} {low:g} L{end - 8:g} {low + 5:g} Z" class="head"/>')

    def raster(
        self, x: float, y: float, width: float, rows: int, colour: str, step: float = 7, rate: float = 0.16
    ) -> None:
        """Draw spikes: a row for each neuron, 7 pixels high."""
        marks, step = [], 7
        for row in range(rows):
            at, density = 0.0, rate * self.random.uniform(0.4, 1.6)
            while (at := at + 2.2 + self.random.expovariate(density)) < width:
                marks.append(f"M{x + at:.1f} {y + row * step:.1f}v{step - 2:g}")
        self.add(f'<path d="{"".join(marks)}" style="stroke:var(--{colour});stroke-width:1.4;fill:none"/>')

    def dots(self, x: float, y: float, n: int, spread: float, colour: str, radius: float = 3.6) -> None:
        """Draw a cloud of points."""
        for _ in range(n):
            u, v = self.random.gauss(x, spread), self.random.gauss(y, spread)
            self.add(f'<circle cx="{u:.1f}" cy="{v:.1f}" r="{radius}" style="fill:var(--{colour});fill-opacity:.8"/>')

    def save(self, name: str) -> None:
        """Write the file."""
        (FOLDER / name).write_text("\n".join([*self.parts, "</svg>", ""]), encoding="utf-8")


def overview() -> Drawing:
    """Draw what the project is: many populations, one model, an embedding of every neuron, heads."""
    drawing = Drawing(
        980,
        330,
        "From recordings of many populations to heads",
        "Recordings of populations of different size go through one model, which gives every neuron an embedding; "
        "heads read cell type, brain area, movement and sleep state from it.",
    )
    for k, (rows, y) in enumerate(((9, 44), (5, 130), (13, 190))):
        drawing.panel(12, y - 8, 196, rows * 7 + 12)
        drawing.raster(20, y, 180, rows, COLOURS[k])
        drawing.arrow(212, y - 2 + rows * 3.5, 302, 158 - (y - 2 + rows * 3.5) + (k - 1) * 16)
    drawing.text(110, 312, "recordings of many populations")
    drawing.panel(306, 76, 166, 164)
    drawing.text(389, 108, "one model", "name")
    for k in range(3):
        drawing.panel(316, 124 + k * 30, 146, 22, "frame")
    drawing.text(389, 140, "each neuron alone")
    drawing.text(389, 170, "neurons together")
    drawing.text(389, 200, "over time again")
    drawing.text(389, 229, "no table of neurons")
    drawing.text(389, 312, "pretrained without labels")
    drawing.arrow(476, 158, 536)
    drawing.panel(540, 56, 196, 204)
    for (x, y), colour in zip(((592, 112), (684, 122), (622, 206), (694, 208)), COLOURS, strict=True):
        drawing.dots(x, y, 16, 12, colour)
    drawing.text(638, 312, "an embedding of every neuron")
    for k, (name, what) in enumerate(
        (
            ("cell type", "of a unit"),
            ("brain area", "of a unit"),
            ("movement", "over time"),
            ("sleep state", "over time"),
        )
    ):
        y = 58 + k * 53
        drawing.arrow(740, 158, 812, y + 21 - 158)
        drawing.panel(816, y, 152, 42)
        drawing.add(f'<circle cx="834" cy="{y + 21}" r="6" style="fill:var(--{COLOURS[k]})"/>')
        drawing.text(850, y + 19, name, "name", "start")
        drawing.text(850, y + 35, what, "small", "start")
    drawing.text(892, 312, "heads, with scores")
    return drawing


def way_of_the_data() -> Drawing:
    """Draw the way of the data: file, recording, store, windows, tokens, embedding, head."""
    drawing = Drawing(
        650,
        566,
        "The way of the data",
        "A file becomes a recording, recordings lie in a store, windows are cut from them, windows become tokens, a "
        "model turns tokens into embeddings, and a head turns embeddings into labels.",
    )
    steps = (
        ("file", "NWB, HDF5 or Zarr", "read_nwb"),
        ("recording", "units, spikes, labels", "Recording"),
        ("store", "Zarr v3, a catalog", "Store, Catalog"),
        ("windows", "seconds of all units", "Loader"),
        ("tokens", "bins of one unit", "patch_length"),
        ("embedding", "numbers of each unit", "EIT"),
        ("head", "a label, a value", "finetune, predict"),
    )
    x_of = [10 + k * 159 for k in range(4)] + [90 + k * 159 for k in range(3)]

    def frame(k: int) -> None:
        (name, what, code), x = steps[k], x_of[k]
        drawing.panel(x, 52, 136, 136)
        drawing.text(x + 68, 34, f"{k + 1}. {name}", "name")
        drawing.text(x + 68, 214, what)
        drawing.text(x + 68, 236, code, "code")
        if k:
            drawing.arrow(x - 21, 120, x - 2)

    file, recording, store, windows, tokens, embedding, head = x_of
    for k in range(4):
        frame(k)
    drawing.add(f'<path d="M{file + 40} 70h40l20 20v80h-60z M{file + 80} 70v20h20" class="frame"/>')
    drawing.text(file + 70, 140, ".nwb", "code")
    drawing.raster(recording + 10, 64, 116, 16, "a")
    for k in range(4):
        drawing.panel(store + 16 + k * 7, 68 + k * 16, 82, 48)
        drawing.raster(store + 22 + k * 7, 74 + k * 16, 70, 6, COLOURS[k], rate=0.25)
    drawing.raster(windows + 10, 64, 116, 16, "a")
    drawing.add(f'<rect x="{windows + 44}" y="60" width="40" height="120" rx="4" class="frame"/>')
    drawing.add(f'<path d="M{file} 262H{recording + 136}" class="arrow"/>')
    drawing.text((file + recording + 136) / 2, 284, "ingest")
    drawing.add(f'<path d="M{store} 262H{windows + 136}" class="arrow"/>')
    drawing.text((store + windows + 136) / 2, 284, "read again and again by pretraining")

    drawing.add('<g transform="translate(0 276)">')  # the second row
    for k in range(4, 7):
        frame(k)
    for row in range(6):
        for part in range(4):
            for cell in range(4):
                count = drawing.random.choice((0, 0, 0, 1, 1, 2))
                shade = (0.06, 0.4, 0.9)[count]
                drawing.add(
                    f'<rect x="{tokens + 12 + part * 29 + cell * 6}" y="{64 + row * 19}" width="6" height="14" '
                    f'style="fill:var(--a);fill-opacity:{shade}"/>'
                )
            drawing.add(
                f'<rect x="{tokens + 12 + part * 29}" y="{64 + row * 19}" width="24" height="14" class="grid"/>'
            )
    for row in range(6):
        for cell in range(8):
            shade = drawing.random.uniform(0.08, 0.95)
            colour = "a" if row % 2 else "b"
            drawing.add(
                f'<rect x="{embedding + 20 + cell * 12}" y="{64 + row * 19}" width="11" height="14" '
                f'style="fill:var(--{colour});fill-opacity:{shade:.2f}"/>'
            )
    for k, width in enumerate((92, 44, 22)):
        place = f'x="{head + 20}" y="{76 + k * 34}" width="{width}" height="20" rx="3"'
        drawing.add(f'<rect {place} style="fill:var(--{COLOURS[k]})"/>')
    drawing.add(f'<path d="M{tokens} 262H{embedding + 136}" class="arrow"/>')
    drawing.text((tokens + embedding + 136) / 2, 284, "the model")
    drawing.add(f'<path d="M{head} 262H{head + 136}" class="arrow"/>')
    drawing.text(head + 68, 284, "finetuning")
    drawing.add("</g>")
    return drawing


if __name__ == "__main__":
    overview().save("overview.svg")
    way_of_the_data().save("way-of-the-data.svg")
