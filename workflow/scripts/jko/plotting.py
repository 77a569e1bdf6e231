"""The figures: arrays and tables in, a `Figure` out. The one module that imports matplotlib.

Sizes are those of print: a column is 3.3 in and a page 6.9 in wide, text is 7 pt or larger. Colours
are Okabe and Ito's, told apart also by marker or line. The same inputs give the same bytes.
"""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from scipy.interpolate import RegularGridInterpolator

from jko.files import atomic_path

COLUMN, PAGE = 3.3, 6.9  # inches
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILLION, PURPLE = "#0072B2", "#D55E00", "#CC79A7"
GREY = "#8C8C8C"
SIDES = np.array([-1.0, 1.0])
_COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY)
_MARKERS = ("o", "s", "^", "D", "v", "P")
_REFERENCE_LINES = ("-", "--", ":", "-.")
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


def _limits(*clouds: np.ndarray) -> np.ndarray:
    """(2, 2) low and high corner of a box around all but each cloud's outermost half per cent."""
    boxes = [np.quantile(cloud[:, :2], [0.005, 0.995], axis=0) for cloud in clouds]
    box = np.stack([np.min(boxes, axis=(0, 1)), np.max(boxes, axis=(0, 1))])
    return box + 0.06 * np.diff(box, axis=0) * np.array([[-1], [1]])


# ---- the cells ----------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Interval:
    """One interval between snapshots, in the first two coordinates.

    Attributes:
        start, end: names of its snapshots, for example "0-3".
        before, observed: (n, 2) test particles at the start and at the end.
        predicted: (n, 2) one-step prediction from `before`, or None if the fit failed.
        potential: (g, g) learned V on the grid, first index y, NaN where it is not to be drawn.
        potential_at: name of the snapshot whose time `potential` is taken at.
        note: why there is no prediction, or "".
    """

    start: str
    end: str
    before: np.ndarray
    observed: np.ndarray
    predicted: np.ndarray | None
    grid_x: np.ndarray
    grid_y: np.ndarray
    potential: np.ndarray
    potential_at: str
    note: str = ""


@styled
def embryoid(
    intervals: Sequence[Interval],
    errors: pd.DataFrame,
    methods: Mapping[str, Mapping],
    method: str,
) -> Figure:
    """Predictions, learned potential over time, and errors per interval.

    Args:
        intervals: in time order.
        errors: columns method, scheme, interval, mean, std; w1 in units of the coordinates.
        methods: {name: settings} of the methods in `errors`; its other rows are references.
        method: name of the method whose predictions and potential are shown.
    """
    figure = Figure(figsize=(PAGE, 6.6), layout="constrained")
    grid = figure.add_gridspec(3, len(intervals), height_ratios=[1, 1, 1.1])
    panels = grid[:2, :].subgridspec(2, len(intervals))
    axes = panels.subplots(sharex=True, sharey=True, squeeze=False)
    clouds = [cloud for i in intervals for cloud in (i.before, i.observed)]
    low, high = _limits(*clouds)
    for axis, interval in zip(axes[0], intervals, strict=True):
        _trajectory(axis, interval)
        axis.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    figure.legend(
        loc="outside upper center",
        ncols=3,
        handles=[
            Line2D([], [], ls="", marker=".", color="#B8B8B8", label="observed, start of interval"),
            Line2D([], [], ls="", marker="s", mfc="none", color=GREEN, label="observed, end"),
            Line2D([], [], ls="", marker="x", color=BLUE, label=f"predicted, end ({method})"),
        ],
    )
    _potential_row(figure, axes[1], intervals)
    axes[0, 0].set_ylabel("PC2 (standardised)")
    axes[1, 0].set_ylabel("PC2 (standardised)\nslice: other PCs at their mean")
    for axis in axes[1]:
        axis.set_xlabel("PC1 (standardised)")
    handles = _errors(figure.add_subplot(grid[2, :]), errors, methods)
    title = "references (lines), and methods with the scheme of the prediction (markers)"
    figure.legend(handles=handles, title=title, ncols=3, loc="outside lower center")
    return figure


def _trajectory(axis: Axes, interval: Interval) -> None:
    """Cells at the start (faint), at the end (squares) and as predicted there (crosses)."""
    for cloud, style in (
        (interval.before, {"marker": ".", "s": 4, "color": "#C8C8C8", "lw": 0}),
        (interval.observed, {"marker": "s", "s": 5, "ec": GREEN, "fc": "none", "lw": 0.4}),
        (interval.predicted, {"marker": "x", "s": 5, "color": BLUE, "lw": 0.4}),
    ):
        if cloud is not None:
            axis.scatter(*thinned(cloud[:, :2], 250).T, **style)
    if interval.predicted is None:
        _note(axis, interval.note)
    axis.set_title(f"day {interval.start} to {interval.end}")


def _potential_row(figure, axes: Sequence[Axes], intervals: Sequence[Interval]) -> None:
    """Level curves of V, each snapshot's from its own minimum, all with the same levels."""
    drawn = [~np.isnan(interval.potential) for interval in intervals]
    known = [i.potential[at] for i, at in zip(intervals, drawn, strict=True) if at.any()]
    filled = None
    # The last hundredth, at the rim, is drawn as one level lest it takes the others from the rest.
    top = np.quantile(np.concatenate([v - v.min() for v in known]), 0.99) if known else 1.0
    values = MaxNLocator(10, steps=[1, 2, 2.5, 5, 10]).tick_values(0, top)
    for axis, interval, at in zip(axes, intervals, drawn, strict=True):
        axis.set_title(f"V at day {interval.potential_at}")
        cells = interval.before if interval.potential_at == interval.start else interval.observed
        if not at.any():
            _note(axis, interval.note)
            continue
        depth = np.ma.masked_invalid(interval.potential - interval.potential[at].min())
        grid = (interval.grid_x, interval.grid_y, depth)
        filled = axis.contourf(*grid, levels=values, cmap="YlGnBu", extend="max")
        axis.contour(*grid, levels=values, colors="#404040", linewidths=0.5)
        axis.scatter(*thinned(cells[:, :2], 250).T, marker=".", s=3, color=BLACK, lw=0)
    if filled is not None:
        bar = figure.colorbar(filled, ax=list(axes), pad=0.01, aspect=15)
        bar.set_label("V − min V (PC²/interval)")


def _note(axis: Axes, text: str) -> None:
    place = {"ha": "center", "va": "center", "transform": axis.transAxes}
    box = {"fc": "white", "ec": "none", "alpha": 0.8, "pad": 1}
    axis.text(0.5, 0.5, textwrap.fill(text, 14), bbox=box, **place)


def _errors(axis: Axes, errors: pd.DataFrame, methods: Mapping[str, Mapping]) -> list[Line2D]:
    """w1 per interval: a marker and its spread per method, a line and its band per reference.

    Returns:
        The entries of the legend.
    """
    names = list(dict.fromkeys(errors["interval"]))
    pairs = list(dict.fromkeys(errors[["method", "scheme"]].itertuples(index=False, name=None)))
    learned = [pair for pair in pairs if pair[0] in methods]
    references = [pair for pair in pairs if pair[0] not in methods]
    rows = errors.set_index(["method", "scheme", "interval"]).sort_index()
    mean = {pair: rows["mean"].loc[pair].loc[names].to_numpy() for pair in pairs}
    std = {pair: rows["std"].loc[pair].loc[names].to_numpy() for pair in pairs}
    position, handles = np.arange(len(names), dtype=float), []
    for i, pair in enumerate(references):
        style = {"color": "#505050", "lw": 0.9, "ls": _REFERENCE_LINES[i % len(_REFERENCE_LINES)]}
        for x, m, s in zip(position, mean[pair], np.nan_to_num(std[pair]), strict=True):
            axis.fill_between([x - 0.42, x + 0.42], m - s, m + s, color=GREY, alpha=0.3, lw=0)
            axis.plot([x - 0.42, x + 0.42], [m, m], **style)
        handles.append(Line2D([], [], label=pair[0].replace("_", " "), **style))
    family = families(methods)
    kinds = list(dict.fromkeys((methods[name].get("scheme"), scheme) for name, scheme in learned))
    shift = np.linspace(-0.36, 0.36, len(learned)) if len(learned) > 1 else [0.0]
    for (name, scheme), offset in zip(learned, shift, strict=True):
        kind = kinds.index((methods[name].get("scheme"), scheme))
        colour = _COLOURS[family[name] % len(_COLOURS)]
        style = {"marker": _MARKERS[kind % len(_MARKERS)], "color": colour, "ls": ""}
        y, spread = mean[name, scheme], std[name, scheme]
        axis.errorbar(position + offset, y, yerr=spread, capsize=1.5, elinewidth=0.7, **style)
        handles.append(Line2D([], [], label=f"{name}, {scheme}", **style))
    axis.set_xticks(position, [name.removesuffix(" over intervals") for name in names])
    axis.axvline(position[-1] - 0.5, color=GREY, lw=0.5)
    axis.set(xlabel="interval (days)", ylabel="one-step EMD (standardised PCs)", ylim=(0, None))
    axis.set_xlim(position[0] - 0.5, position[-1] + 0.5)
    return handles


# ---- the landscapes -----------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Landscape:
    """A simulated potential and what was learned of it, in two dimensions.

    Attributes:
        name: of the potential.
        true, learned: (g, g) V on the grid, first index y; `learned` is NaN if the fit failed.
        observed, predicted: (n, 2) test particles at the last snapshot; None if the fit failed.
        note: why there is no prediction, or "".
    """

    name: str
    grid_x: np.ndarray
    grid_y: np.ndarray
    true: np.ndarray
    learned: np.ndarray
    observed: np.ndarray
    predicted: np.ndarray | None
    note: str = ""


def offset(landscape: Landscape) -> float:
    """Mean of V_learned - V_true over the observed particles on the grid, interpolated linearly.

    V is determined up to a constant; less this one, the two have the same mean over the data.
    """
    difference = RegularGridInterpolator(
        (landscape.grid_y, landscape.grid_x),
        landscape.learned - landscape.true,
        bounds_error=False,
        fill_value=np.nan,
    )
    return float(np.nanmean(difference(landscape.observed[:, ::-1])))


def levels(true: np.ndarray, count: int = 7) -> np.ndarray:
    """Distinct values of V that cut the grid into equal areas; none at a lowest plateau."""
    values = np.unique(np.quantile(true, np.linspace(0, 1, count + 2)[1:-1]))
    return values[values > true.min() + 1e-3 * np.ptp(true)]


@styled
def level_curves(landscapes: Sequence[Landscape], method: str, columns: int = 6) -> Figure:
    """True and learned potential, and observed and predicted particles, of every landscape.

    Each landscape has a panel of level curves, at the same levels of both, over one of particles.
    """
    blocks = -(-len(landscapes) // columns)
    figure = Figure(figsize=(PAGE, 0.5 + 2.2 * blocks * 6 / columns), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.01, h_pad=0.02, wspace=0.01, hspace=0.01)
    axes = figure.subplots(2 * blocks, columns, squeeze=False)
    pairs = list(axes.reshape(blocks, 2, columns).swapaxes(1, 2).reshape(-1, 2))
    for (curves, particles), landscape in zip(pairs, landscapes, strict=False):
        curves.set_title(landscape.name.replace("_", " "))
        _level_curves(curves, landscape)
        _particles(particles, landscape)
        grid = np.stack([landscape.grid_x[[0, -1]], landscape.grid_y[[0, -1]]], axis=1)
        low, high = _limits(grid, landscape.observed)
        centre, half = (low + high) / 2, np.max(high - low) / 2
        for axis in (curves, particles):
            axis.set(xlim=centre[0] + half * SIDES, ylim=centre[1] + half * SIDES, box_aspect=1)
            axis.xaxis.set_major_locator(MaxNLocator(3, integer=True))
            axis.yaxis.set_major_locator(MaxNLocator(3, integer=True))
            axis.tick_params(pad=1.5)
        curves.tick_params(labelbottom=False)
    for axis in np.ravel(pairs[len(landscapes) :]):
        axis.set_axis_off()
    figure.supxlabel("$x_1$ (dimensionless)")
    figure.supylabel("$x_2$ (dimensionless)")
    figure.legend(
        loc="outside upper center",
        ncols=4,
        handles=[
            Line2D([], [], color=GREEN, lw=1.8, alpha=0.5, label="true V"),
            Line2D([], [], color=BLUE, lw=0.6, label=f"learned V ({method})"),
            Line2D([], [], ls="", marker="s", mfc="none", color=GREEN, label="observed particles"),
            Line2D([], [], ls="", marker="x", color=BLUE, label="predicted particles"),
        ],
    )
    return figure


def _level_curves(axis: Axes, landscape: Landscape) -> None:
    values = levels(landscape.true)
    if len(values) < 2:
        _note(axis, "true V is constant")
        return
    grid = (landscape.grid_x, landscape.grid_y)
    axis.contour(*grid, landscape.true, levels=values, colors=GREEN, linewidths=1.8, alpha=0.5)
    if np.any(np.isnan(landscape.learned)):
        return
    aligned = landscape.learned - offset(landscape)
    inside = values[(values > aligned.min()) & (values < aligned.max())]
    if len(inside):
        axis.contour(*grid, aligned, levels=inside, colors=BLUE, linewidths=0.6)


def _particles(axis: Axes, landscape: Landscape) -> None:
    axis.scatter(*thinned(landscape.observed, 90).T, marker="s", s=7, ec=GREEN, fc="none", lw=0.5)
    if landscape.predicted is None:
        _note(axis, landscape.note)
    else:
        axis.scatter(*thinned(landscape.predicted, 90).T, marker="x", s=6, color=BLUE, lw=0.5)


# ---- the schemes --------------------------------------------------------------------------------


@styled
def schemes(
    errors: pd.DataFrame, methods: Mapping[str, Mapping], references: Mapping[str, str]
) -> Figure:
    """The error of the learned energy per landscape: colour by scheme, marker by kind of method.

    Args:
        errors: columns landscape, method, mean, std, n_failed of l2_uvp (%); one row per pair.
        methods: {name: settings with `scheme`} of the methods to draw.
        references: {name: label} of other rows of `errors`, drawn as ticks.
    """
    names = list(dict.fromkeys(errors["landscape"]))
    figure = Figure(figsize=(COLUMN, 1.0 + 0.2 * len(names)), layout="constrained")
    axis = figure.subplots()
    family = families(methods)
    kinds = list(dict.fromkeys(settings["scheme"] for settings in methods.values()))
    shift = np.linspace(-0.27, 0.27, len(methods)) if len(methods) > 1 else [0.0]
    drawn = []
    for (name, settings), move in zip(methods.items(), shift, strict=True):
        colour = (VERMILLION, BLUE, GREEN)[kinds.index(settings["scheme"]) % 3]
        style = {"marker": _MARKERS[family[name] % len(_MARKERS)], "color": colour, "ls": ""}
        drawn.append((name, move, style))
    for name, colour in zip(references, (BLACK, ORANGE), strict=False):
        drawn.append((name, 0.0, {"marker": "|", "ms": 8, "mew": 1.4, "color": colour, "ls": ""}))
    axis.set_xscale("log", nonpositive="clip")
    for name, move, style in drawn:
        rows = errors[errors["method"] == name].set_index("landscape").reindex(names)
        mean, std = rows["mean"].to_numpy(), np.nan_to_num(rows["std"].to_numpy())
        y = np.arange(len(names)) + move
        good = mean > 0
        axis.errorbar(mean[good], y[good], xerr=std[good], elinewidth=0.7, **style)
        for i in np.flatnonzero(~good):
            # A logarithmic axis has no place for 0 or for a failure; they are said at its edges.
            edge, text = (0.01, "0") if mean[i] == 0 else (1.01, "NaN")
            place = {"va": "center", "transform": axis.get_yaxis_transform()}
            axis.text(edge, y[i], text, color=style["color"], **place)
    shown = errors["method"].isin([name for name, _, _ in drawn]) & (errors["mean"] > 0)
    positive = errors.loc[shown, "mean"]
    if len(positive):
        axis.set_xlim(positive.min() / 4, positive.max() * 4)
    axis.set_yticks(np.arange(len(names)), [name.replace("_", " ") for name in names])
    axis.set_ylim(len(names) - 0.5, -0.5)
    axis.set(xlabel="L2-UVP of the learned energy (%)", ylabel="landscape")
    axis.grid(axis="y", color="#E4E4E4", lw=5, zorder=0)
    axis.set_axisbelow(True)
    axis.tick_params(axis="y", length=0)
    handles = [
        Line2D([], [], label=references.get(name, name), **style) for name, _, style in drawn
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=2, columnspacing=1.0)
    return figure
