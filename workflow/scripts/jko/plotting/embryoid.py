"""The cells: predictions, the potential over time, and errors per interval."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from jko.plotting.style import (
    BLACK,
    BLUE,
    COLOURS,
    GREEN,
    GREY,
    MARKERS,
    PAGE,
    families,
    limits,
    note,
    styled,
    thinned,
)

_REFERENCE_LINES = ("-", "--", ":", "-.")


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
def draw(
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
    low, high = limits(*clouds)
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
        note(axis, interval.note)
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
            note(axis, interval.note)
            continue
        depth = np.ma.masked_invalid(interval.potential - interval.potential[at].min())
        grid = (interval.grid_x, interval.grid_y, depth)
        filled = axis.contourf(*grid, levels=values, cmap="YlGnBu", extend="max")
        axis.contour(*grid, levels=values, colors="#404040", linewidths=0.5)
        axis.scatter(*thinned(cells[:, :2], 250).T, marker=".", s=3, color=BLACK, lw=0)
    if filled is not None:
        bar = figure.colorbar(filled, ax=list(axes), pad=0.01, aspect=15)
        bar.set_label("V − min V (PC²/interval)")


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
        colour = COLOURS[family[name] % len(COLOURS)]
        style = {"marker": MARKERS[kind % len(MARKERS)], "color": colour, "ls": ""}
        y, spread = mean[name, scheme], std[name, scheme]
        axis.errorbar(position + offset, y, yerr=spread, capsize=1.5, elinewidth=0.7, **style)
        handles.append(Line2D([], [], label=f"{name}, {scheme}", **style))
    axis.set_xticks(position, [name.removesuffix(" over intervals") for name in names])
    axis.axvline(position[-1] - 0.5, color=GREY, lw=0.5)
    axis.set(xlabel="interval (days)", ylabel="one-step EMD (standardised PCs)", ylim=(0, None))
    axis.set_xlim(position[0] - 0.5, position[-1] + 0.5)
    return handles
