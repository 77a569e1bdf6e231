"""What methods and couplings cost: seconds of an epoch, and error against seconds and memory."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from jko.plotting.style import (
    BLACK,
    BLUE,
    COLOURS,
    COLUMN,
    GREY,
    MARKERS,
    legend_columns,
    log_ticks,
    styled,
)

# The panels of a coupling: label of the axis, what is drawn filled (or open), and the scale.
_PANELS = (
    ("(a) L2-UVP of the\npotential (%)", {"l2_uvp": True}, "log"),
    ("(b) whole job (s)", {"couple_seconds": True, "train_seconds": False}, "log"),
    ("(c) memory of the\ncoupling (MB)", {"couple_mb": True}, "linear"),
)


@styled
def per_epoch(costs: pd.DataFrame) -> Figure:
    """A dot with its quartiles for each method, and a tick at the whole fit.

    Args:
        costs: columns method, unit, median_s, low_s, high_s, fit_s, as
            :func:`jko.tables.costs.per_epoch` returns them.
    """
    figure = Figure(figsize=(COLUMN, 0.9 + 0.2 * len(costs)), layout="constrained")
    axis = figure.subplots()
    axis.set_xscale("log")
    for place, row in enumerate(costs.itertuples()):
        middle = row.median_s
        spread = [[middle - row.low_s], [row.high_s - middle]]
        filling = BLUE if row.unit == "epoch" else "white"
        axis.errorbar(
            middle, place, xerr=spread, color=BLUE, marker="o", mfc=filling, ls="", elinewidth=0.7
        )
        axis.plot(row.fit_s, place, color=BLACK, marker="|", ms=8, mew=1.4, ls="")
    axis.set_yticks(np.arange(len(costs)), costs["method"])
    axis.set_ylim(len(costs) - 0.5, -0.5)
    axis.set(xlabel="wall-clock time (s)", ylabel="method")
    axis.grid(axis="y", color="#E4E4E4", lw=5, zorder=0)
    axis.set_axisbelow(True)
    axis.tick_params(axis="y", length=0)
    dot = {"color": BLUE, "marker": "o", "ls": ""}
    handles = [
        Line2D([], [], **dot, label="one epoch"),
        Line2D([], [], **dot, mfc="white", label="one fit, without epochs"),
        Line2D(
            [],
            [],
            color=BLACK,
            marker="|",
            ms=8,
            mew=1.4,
            ls="",
            label="whole fit, compilation included",
        ),
    ]
    columns = legend_columns([handle.get_label() for handle in handles], COLUMN)
    figure.legend(handles=handles, loc="outside upper center", ncols=columns)
    return figure


@styled
def by_coupling(table: pd.DataFrame, couplings: Mapping[str, str]) -> Figure:
    """The error, the seconds and the memory of every coupling, a colour for each landscape.

    Args:
        table: columns landscape, method, metric, mean, std.
        couplings: {method: its coupling in words}, in the order of the axis.
    """
    names = list(dict.fromkeys(table["landscape"]))
    figure = Figure(figsize=(COLUMN, 4.6), layout="constrained")
    axes = figure.subplots(len(_PANELS), 1, sharex=True)
    shift = np.linspace(-0.22, 0.22, len(names)) if len(names) > 1 else [0.0]
    handles = []
    for i, (name, move) in enumerate(zip(names, shift, strict=True)):
        colour, marker = COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]
        look = {"color": colour, "marker": marker, "ls": ""}
        of_landscape = table[table["landscape"] == name]
        for axis, (_, metrics, _) in zip(axes, _PANELS, strict=True):
            for metric, filled in metrics.items():
                rows = of_landscape[of_landscape["metric"] == metric].set_index("method")
                shown = rows.reindex(couplings)
                axis.errorbar(
                    np.arange(len(couplings)) + move,
                    shown["mean"].to_numpy(),
                    yerr=np.nan_to_num(shown["std"].to_numpy()),
                    **look,
                    mfc=colour if filled else "white",
                    elinewidth=0.7,
                )
                if metric == "l2_uvp" and "zero_energy" in rows.index:
                    axis.axhline(rows.loc["zero_energy", "mean"], color=colour, ls="--", lw=0.8)
        handles.append(Line2D([], [], **look, label=name.replace("_", " ")))
    for axis, (label, _, scale) in zip(axes, _PANELS, strict=True):
        axis.set_ylabel(label)
        if scale == "log":
            axis.set_yscale("log", nonpositive="clip")
            log_ticks(axis)
        else:
            axis.set_ylim(bottom=0)
        for place in range(0, len(couplings), 2):
            axis.axvspan(place - 0.5, place + 0.5, color="#F2F2F2", lw=0, zorder=0)
    axes[-1].set_xticks(
        np.arange(len(couplings)), [word.replace(" ", "\n") for word in couplings.values()]
    )
    axes[-1].set_xlim(-0.5, len(couplings) - 0.5)
    axes[-1].set_xlabel("coupling")
    handles += [
        Line2D([], [], color=GREY, ls="--", lw=0.8, label="V = 0"),
        Line2D([], [], color=GREY, marker="o", ls="", label="coupling"),
        Line2D([], [], color=GREY, marker="o", mfc="white", ls="", label="training"),
    ]
    columns = legend_columns([handle.get_label() for handle in handles], COLUMN)
    figure.legend(handles=handles, loc="outside upper center", ncols=columns)
    return figure
