"""What all figures share: sizes, colours, how methods are told apart, and how files are written.

Sizes are those of print: a column is 3.3 in and a page 6.9 in wide, text is 7 pt or larger. Colours
are Okabe and Ito's, told apart also by marker or line. The same inputs give the same bytes.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.textpath import TextPath
from matplotlib.ticker import LogLocator, NullFormatter

from jko.files import atomic_path

COLUMN, PAGE = 3.3, 6.9  # inches
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILLION, PURPLE = "#0072B2", "#D55E00", "#CC79A7"
GREY = "#8C8C8C"
COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, SKY, ORANGE)
SCHEME_COLOURS = (VERMILLION, BLUE, GREEN)
MARKERS = ("o", "s", "^", "D", "v", "P")
_TEXTS = "axes.titlesize axes.labelsize xtick.labelsize ytick.labelsize figure.labelsize".split()
_TEXTS += "font.size legend.fontsize legend.title_fontsize".split()
_LINES = "axes.linewidth xtick.major.width ytick.major.width".split()
STYLE = dict.fromkeys(_TEXTS, 7) | dict.fromkeys(_LINES, 0.6)  # points
STYLE |= {
    "axes.titlepad": 3,
    "axes.labelpad": 2,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "lines.markersize": 3.5,
    "legend.frameon": False,
    "legend.handlelength": 1.6,
    "legend.columnspacing": 1.0,
    "contour.negative_linestyle": "solid",
    "pdf.fonttype": 42,
    "figure.dpi": 100,
    "savefig.dpi": 200,
}
styled = mpl.rc_context(STYLE)


@styled
def save(figure: Figure, path_pdf: str | Path, path_png: str | Path) -> None:
    """Write the figure as vector PDF (TrueType fonts embedded) and as PNG (200 dpi)."""
    # The layout is solved up to rounding errors that differ from run to run; they end here.
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axis in figure.axes:
        axis.set_position(np.round(axis.get_position().bounds, 5))
    with atomic_path(path_pdf) as temporary:
        figure.savefig(temporary, metadata={"CreationDate": None})
    with atomic_path(path_png) as temporary:
        figure.savefig(temporary)


def families(methods: Mapping[str, Mapping]) -> dict[str, int]:
    """{method: number}, the same number for methods whose settings differ in their scheme alone."""
    settings = [{k: v for k, v in m.items() if k != "scheme"} for m in methods.values()]
    distinct = [s for i, s in enumerate(settings) if s not in settings[:i]]
    return {name: distinct.index(s) for name, s in zip(methods, settings, strict=True)}


def thinned(cloud: np.ndarray, most: int) -> np.ndarray:
    """At most so many particles of a cloud (n, d), drawn by a fixed generator."""
    if len(cloud) <= most:
        return cloud
    return cloud[np.sort(np.random.default_rng(0).choice(len(cloud), most, replace=False))]


def limits(*clouds: np.ndarray) -> np.ndarray:
    """(2, 2) low and high corner of a box around all but each cloud's outermost half per cent."""
    boxes = [np.quantile(cloud[:, :2], [0.005, 0.995], axis=0) for cloud in clouds]
    box = np.stack([np.min(boxes, axis=(0, 1)), np.max(boxes, axis=(0, 1))])
    return box + 0.06 * np.diff(box, axis=0) * np.array([[-1], [1]])


def note(axis: Axes, text: str) -> None:
    """Words in the middle of a panel, in place of what could not be drawn."""
    place = {"ha": "center", "va": "center", "transform": axis.transAxes}
    box = {"fc": "white", "ec": "none", "alpha": 0.8, "pad": 1}
    axis.text(0.5, 0.5, textwrap.fill(text, 14), bbox=box, **place)


def method_styles(methods: Mapping[str, Mapping], colour: str = "family") -> dict[str, dict]:
    """{method: how its dots look}: colour, marker and filling say its family and its scheme.

    Args:
        methods: {name: settings with `scheme`, which it was learned with}.
        colour: "scheme" where its contrast matters most, the marker then says the family;
            or "family" for colour and marker, and the filling says the scheme.
    """
    schemes = list(dict.fromkeys(settings["scheme"] for settings in methods.values()))
    found = {}
    for name, family in families(methods).items():
        scheme = schemes.index(methods[name]["scheme"])
        marker, chosen = MARKERS[family % len(MARKERS)], COLOURS[family % len(COLOURS)]
        if colour == "scheme":
            found[name] = {"color": SCHEME_COLOURS[scheme % len(SCHEME_COLOURS)], "marker": marker}
        else:
            filling = chosen if scheme == 0 else "white"
            found[name] = {"color": chosen, "marker": marker, "mfc": filling}
    return found


def log_ticks(axis: Axes) -> None:
    """Labels of a logarithmic y axis whose data are drawn: 1, 2, 5 where it spans two decades or less."""
    low, high = axis.get_ylim()
    if high / low <= 100:
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_major_formatter("{x:g}")
    axis.yaxis.set_minor_formatter(NullFormatter())


def legend_columns(labels: Iterable[str], width: float) -> int:
    """How many columns of a legend fit into a width (in), by its longest label."""
    longest = max(
        (TextPath((0, 0), text, size=7).get_extents().width for text in labels), default=0
    )
    beside = STYLE["legend.handlelength"] + STYLE["legend.columnspacing"] + 0.8
    return max(1, int(width * 72 / (longest + 7 * beside)))
