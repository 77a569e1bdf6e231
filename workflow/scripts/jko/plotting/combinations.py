"""Errors of several methods by dimension and number of particles, and on the
way through the training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter

from jko.plotting.style import (
    BLACK,
    GREY,
    ORANGE,
    PAGE,
    legend_columns,
    method_styles,
    note,
    styled,
)

# The rows of errors: metric, label of the axis, and references that are drawn as ticks.
_ROWS = (
    ("w1_excess", "(a) EMD less oracle's\n(dimensionless)", {"identity": BLACK}),
    ("bw2_uvp", "(b) B-UVP (%)", {"identity": BLACK, "oracle": ORANGE}),
    ("l2_uvp", "(c) L2-UVP (%)", {"zero_energy": BLACK}),
)
_TICK = {"ls": "-", "lw": 1.2}


@styled
def by_combination(
    errors: pd.DataFrame, progress: pd.DataFrame, methods: Mapping[str, Mapping]
) -> Figure:
    """A column for each dimension and number of particles; rows of errors,
    the last one along the training.

    Args:
        errors: columns landscape, dimension, n_train, method, scheme, metric, mean, std.
            A method is drawn with the scheme that it was learned with; V = 0, whose prediction
            is ``identity``, and the oracle as ticks.
        progress: columns dimension, n_train, method, epoch, ratio, low, high; methods
            without rows have no line.
        methods: {name: settings with `scheme`} of the methods to draw.
    """
    combinations = list(dict.fromkeys(errors[["dimension", "n_train"]].itertuples(index=False)))
    names = list(dict.fromkeys(errors["landscape"]))
    figure = Figure(figsize=(PAGE, 7.8), layout="constrained")
    axes = figure.subplots(4, len(combinations), squeeze=False, sharey="row")
    look = method_styles(methods)
    own = errors["method"].map({name: entry["scheme"] for name, entry in methods.items()})
    errors = errors[own.isna() | (own == errors["scheme"])]
    failed = False
    for column, (dimension, n_train) in zip(axes.T, combinations, strict=True):
        at = {"dimension": dimension, "n_train": n_train}
        for axis in column[1:3]:
            axis.sharex(column[0])
        column[0].set_title(f"d = {dimension}, n = {n_train}")
        for axis, (metric, _, ticks) in zip(column, _ROWS, strict=False):
            rows = _where(errors, metric=metric, **at)
            _scale(axis, metric, errors)
            failed = _dots(axis, rows, names, look) or failed
            for name, colour in ticks.items():
                y = rows[rows["method"] == name].set_index("landscape")["mean"].reindex(names)
                position = np.arange(len(names))
                axis.hlines(y, position - 0.42, position + 0.42, colors=colour, lw=_TICK["lw"])
            axis.tick_params(labelbottom=axis is column[2])
        column[2].set_xticks(
            np.arange(len(names)),
            [name.replace("_", " ") for name in names],
            rotation=40,
            ha="right",
            rotation_mode="anchor",
        )
        column[2].set_xlabel("landscape")
        _progress(column[3], _where(progress, **at), look)
    for axis, (_, label, _) in zip(axes[:, 0], _ROWS, strict=False):
        axis.set_ylabel(label)
    axes[3, 0].set_ylabel("(d) L2-UVP relative to\nfirst kept epoch")
    _legend(figure, look, failed)
    return figure


def _where(table: pd.DataFrame, **wanted) -> pd.DataFrame:
    keep = np.ones(len(table), dtype=bool)
    for column, value in wanted.items():
        keep &= (table[column] == value).to_numpy()
    return table[keep]


def _scale(axis: Axes, metric: str, errors: pd.DataFrame) -> None:
    """Logarithmic; an excess has both signs, and is linear below the power
    of ten under its median.
    """
    if metric != "w1_excess":
        axis.set_yscale("log", nonpositive="clip")
        return
    size = errors.loc[errors["metric"] == metric, "mean"].abs()
    size = size[size > 0]
    linear = 10.0 ** np.floor(np.log10(size.median())) if len(size) else 1.0
    axis.set_yscale("symlog", linthresh=linear)
    axis.axhline(0, color=GREY, lw=0.6)


def _dots(
    axis: Axes, rows: pd.DataFrame, names: Sequence[str], look: Mapping[str, Mapping]
) -> bool:
    """One dot and its spread for each method and landscape; true where one has no number at all."""
    shift = np.linspace(-0.36, 0.36, len(look)) if len(look) > 1 else [0.0]
    for place in range(0, len(names), 2):
        axis.axvspan(place - 0.5, place + 0.5, color="#F2F2F2", lw=0, zorder=0)
    failed = False
    for (name, style), move in zip(look.items(), shift, strict=True):
        of_method = rows[rows["method"] == name].set_index("landscape").reindex(names)
        mean, std = of_method["mean"].to_numpy(), np.nan_to_num(of_method["std"].to_numpy())
        x, lost = np.arange(len(names)) + move, np.isnan(mean)
        more = {"ls": "", "ms": 2.8, "mew": 0.7, "elinewidth": 0.6}
        axis.errorbar(x[~lost], mean[~lost], yerr=std[~lost], **style, **more)
        if lost.any():
            place = {"transform": axis.get_xaxis_transform(), "clip_on": False, "ls": ""}
            axis.plot(x[lost], np.ones(lost.sum()), marker="x", ms=3, color=style["color"], **place)
            failed = True
    axis.set_xlim(-0.5, len(names) - 0.5)
    return failed


def _progress(axis: Axes, progress: pd.DataFrame, look: Mapping[str, Mapping]) -> None:
    """A line for each method, and the band of its landscapes."""
    if progress.empty:
        note(axis, "no error along the training")
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.axhline(1, color=GREY, lw=0.6)
    for name, style in look.items():
        line = progress[progress["method"] == name].sort_values("epoch")
        epoch, filled = line["epoch"].to_numpy(), style["mfc"] == style["color"]
        axis.fill_between(epoch, line["low"], line["high"], color=style["color"], alpha=0.1, lw=0)
        axis.plot(
            epoch, line["ratio"], **style, lw=0.9, ms=2.2, mew=0.6, ls="-" if filled else "--"
        )
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter("{x:g}")
    axis.yaxis.set_minor_formatter(NullFormatter())
    axis.set_xlabel("epoch")


def _legend(figure: Figure, look: Mapping[str, Mapping], failed: bool) -> None:
    handles = [
        Line2D(
            [], [], label=name, ls="-" if style["mfc"] == style["color"] else "--", lw=0.9, **style
        )
        for name, style in look.items()
    ]
    handles.append(Line2D([], [], color=BLACK, label="V = 0", **_TICK))
    handles.append(Line2D([], [], color=ORANGE, label="oracle", **_TICK))
    if failed:
        handles.append(Line2D([], [], color=BLACK, ls="", marker="x", label="every seed failed"))
    columns = legend_columns([handle.get_label() for handle in handles], PAGE)
    figure.legend(handles=handles, loc="outside upper center", ncols=columns)
