"""Errors by landscape, as dots on a logarithmic axis."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from jko.plotting.style import BLACK, COLUMN, ORANGE, legend_columns, method_styles, styled

# An L2-UVP below this, in percent, is the rounding of single precision, squared; errors of any kind below it are shown as 0.
_ROUNDING = 1e-12


@styled
def by_landscape(
    panels: Mapping[str, pd.DataFrame],
    methods: Mapping[str, Mapping],
    references: Mapping[str, str],
    colour: str = "family",
) -> Figure:
    """One error per landscape and method: dots with their spread, and references as ticks; panels below each other, of one range.

    Args:
        panels: {label of the axis: errors}, with columns landscape, method, mean, std; one row per pair.
        methods: {name: settings with `scheme`} of the methods to draw.
        references: {name: label} of at most two other rows of the errors, drawn as ticks.
        colour: what the colour of a dot says, as in :func:`jko.plotting.style.method_styles`.
    """
    rows = sum(errors["landscape"].nunique() for errors in panels.values())
    labels = [*methods, *references.values()]
    columns = legend_columns(labels, COLUMN)
    head = 0.15 + 0.14 * -(-len(labels) // columns) + 0.45 * len(panels)
    height = head + row_height(methods) * rows
    figure = Figure(figsize=(COLUMN, height), layout="constrained")
    axes = figure.subplots(len(panels), squeeze=False)[:, 0]
    for axis, (label, errors) in zip(axes, panels.items(), strict=True):
        handles = draw(axis, errors, methods, references, label, colour)
    low, high = zip(*(axis.get_xlim() for axis in axes), strict=True)
    for axis in axes:
        axis.set_xlim(min(low), max(high))
    figure.legend(handles=handles, loc="outside upper center", ncols=columns)
    return figure


def row_height(methods: Mapping[str, Mapping]) -> float:
    """Inches of a landscape's row."""
    return max(0.2, 0.05 * len(methods))


def draw(
    axis: Axes,
    errors: pd.DataFrame,
    methods: Mapping[str, Mapping],
    references: Mapping[str, str],
    label: str,
    colour: str,
) -> list[Line2D]:
    """The dots of one panel of :func:`by_landscape` on an axis; returns what its legend shows."""
    names = list(dict.fromkeys(errors["landscape"]))
    labels = [*methods, *references.values()]
    axis.set_xscale("log", nonpositive="clip")
    shift = np.linspace(-0.27, 0.27, len(methods)) if len(methods) > 1 else [0.0]
    drawn = [
        (name, move, {"ls": "", **style})
        for (name, style), move in zip(method_styles(methods, colour).items(), shift, strict=True)
    ]
    for name, tick in zip(references, (BLACK, ORANGE), strict=False):
        drawn.append((name, 0.0, {"marker": "|", "ms": 8, "mew": 1.4, "color": tick, "ls": ""}))
    edges: dict[tuple[int, str], int] = {}
    for name, move, style in drawn:
        rows = errors[errors["method"] == name].set_index("landscape").reindex(names)
        mean, std = rows["mean"].to_numpy(), np.nan_to_num(rows["std"].to_numpy())
        y = np.arange(len(names)) + move
        good = mean > _ROUNDING
        axis.errorbar(mean[good], y[good], xerr=std[good], elinewidth=0.7, **style)
        for i in np.flatnonzero(~good):
            text = "0" if mean[i] <= _ROUNDING else "NaN"
            said = edges[i, text] = edges.get((i, text), -1) + 1
            _at_edge(axis, i, text, said, style["color"])
    shown = errors["method"].isin([name for name, _, _ in drawn]) & (errors["mean"] > _ROUNDING)
    positive = errors.loc[shown, "mean"]
    if len(positive):
        axis.set_xlim(positive.min() / 4, positive.max() * 4)
    axis.set_yticks(np.arange(len(names)), [name.replace("_", " ") for name in names])
    axis.set_ylim(len(names) - 0.5, -0.5)
    axis.set(xlabel=label, ylabel="landscape")
    axis.grid(axis="y", color="#E4E4E4", lw=5, zorder=0)
    axis.set_axisbelow(True)
    axis.tick_params(axis="y", length=0)
    return [
        Line2D([], [], label=text, **style)
        for text, (_, _, style) in zip(labels, drawn, strict=True)
    ]


def _at_edge(axis: Axes, y: int, text: str, before: int, colour: str) -> None:
    """Say what a logarithmic axis has no place for: 0 at its left edge,
    a failure beyond its right one.

    Args:
        before: how many such words the landscape has already; they stand side by side.
    """
    x, step = (0.01, 5) if text == "0" else (1.01, 15)
    axis.annotate(
        text,
        (x, y),
        (before * step, 0),
        xycoords=axis.get_yaxis_transform(),
        textcoords="offset points",
        va="center",
        color=colour,
        annotation_clip=False,
    )
