"""Pictures in one style, legible in print and for colour-blind readers, with equal bytes for equal data."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

# Okabe and Ito's colours, which colour-blind readers can distinguish, without yellow (too pale on white) and with wine
# and teal in place of black, which marks missing labels.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#882255", "#44AA99")
MARKERS = "osD^vPX*"
INK, GRID = "#222222", "#DDDDDD"
BLUES = LinearSegmentedColormap.from_list("blues", ["#FFFFFF", "#9CC7E3", "#0072B2", "#00263D"])


@dataclass(frozen=True)
class Picture:
    """A PNG with a text for readers who cannot see it.

    Args:
        png: the file's bytes.
        alt: what the picture shows.
        caption: text below the picture.
    """

    png: bytes
    alt: str
    caption: str = ""

    @property
    def source(self) -> str:
        """The picture as a data URL, which makes a page self-contained.

        Example:
            >>> Picture(b"abc", "three bytes").source
            'data:image/png;base64,YWJj'
        """
        return "data:image/png;base64," + base64.b64encode(self.png).decode()

    @property
    def width(self) -> int:
        """Width of the picture on a page in CSS pixels: 110 per inch for pictures of 144 dots per inch."""
        return round(int.from_bytes(self.png[16:20], "big") * 110 / 144)


@dataclass
class Drawing:
    """A figure being drawn.

    Args:
        figure: to draw on.
        content: the bytes of the file, once the block of `drawing` has ended.
    """

    figure: Figure
    content: bytes = b""


@contextmanager
def drawing(
    width: float,
    height: float,
    *,
    dpi: int = 144,
    text_size: float = 10.0,
    tick_size: float = 9.0,
    palette: int = 0,
    formulas: bool = False,
    kind: str = "png",
) -> Iterator[Drawing]:
    """Yield an empty figure, and encode it as a file's bytes when the block ends.

    The file holds no date and no version, so equal data give equal bytes.

    Args:
        width, height: inches.
        dpi: dots per inch.
        text_size, tick_size: points of texts and of the numbers at the axes.
        palette: number of colours to reduce a PNG to, which makes it a third as large; 0 keeps all.
        formulas: read text between dollar signs as a formula, which logarithmic axes need. By default dollar signs are
    literal, because texts come from files.
        kind: ``png`` or ``svg``.

    Example:
        >>> with drawing(2.0, 1.0) as sheet:
        ...     _ = sheet.figure.add_subplot().plot([0, 1], [0, 1])
        >>> sheet.content[:4]
        b'\\x89PNG'
    """
    style = {"text.parse_math": formulas, "font.size": text_size, "svg.hashsalt": "foundation"}
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
        canvas = FigureCanvasAgg(figure)
        sheet = Drawing(figure)
        yield sheet
        for axes in figure.axes:
            axes.tick_params(colors=INK, labelsize=tick_size)
            axes.spines[["top", "right"]].set_visible(False)
        buffer = io.BytesIO()
        if palette:
            figure.set_dpi(dpi)
            canvas.draw()
            _reduced(np.asarray(canvas.buffer_rgba()), palette, buffer)
        else:
            nothing = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}
            figure.savefig(buffer, format=kind, dpi=dpi, metadata=nothing[kind])
        sheet.content = buffer.getvalue()


def _reduced(pixels_HWC: np.ndarray, colours: int, buffer: io.BytesIO) -> None:
    from PIL import Image

    picture = Image.fromarray(pixels_HWC[..., :3].copy())
    picture.quantize(colours, dither=Image.Dither.NONE).save(buffer, format="png", optimize=True)
