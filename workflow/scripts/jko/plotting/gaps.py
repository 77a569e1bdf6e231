"""The gap of the inverse JKO problem along the training."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from jko.plotting.style import BLACK, COLOURS, COLUMN, PAGE, legend_columns, styled

_POINTS = 100


def averaged(numbers: np.ndarray, count: int = _POINTS) -> tuple[np.ndarray, np.ndarray]:
    """Means over at most so many spans of equal length, and the last index of each;
    NaN spreads to its span.
    """
    stops = np.unique(np.linspace(0, len(numbers), min(count, len(numbers)) + 1).astype(int))
    spans = zip(stops[:-1], stops[1:], strict=True)
    return np.array([numbers[a:b].mean() for a, b in spans]), stops[1:] - 1


@styled
def gaps(histories: pd.DataFrame, rows: Mapping[str, str], scale: str) -> Figure:
    """The gap per epoch: a panel for each landscape and kind of data, a line for each seed.

    Args:
        histories: columns landscape, those of ``rows``, method, seed, epoch, and gap
            where a training has one.
        rows: {column that tells the rows of panels apart: its label, as in "d = {}"}.
        scale: of the gap, linear or symlog: linear about zero and logarithmic beyond.

    Raises:
        ValueError: no training has a gap.
    """
    if "gap" not in histories or histories["gap"].isna().all():
        raise ValueError(
            "no history holds a gap; only methods that play against a transport map have one"
        )
    histories = histories[histories["gap"].notna()]
    landscapes = list(dict.fromkeys(histories["landscape"]))
    labels = histories[list(rows)].apply(lambda row: _label(rows, row), axis=1)
    combinations = list(dict.fromkeys(labels))
    methods = list(dict.fromkeys(histories["method"]))
    width = PAGE if len(landscapes) > 1 else COLUMN
    columns = legend_columns(methods, width)
    head = 0.5 + 0.14 * -(-len(methods) // columns)  # inches
    height = head + max(1.2 * len(combinations), 1.8)
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(
        len(combinations), len(landscapes), squeeze=False, sharey=True, sharex="row"
    )
    for row, label in zip(axes, combinations, strict=True):
        of_row = histories[labels == label]
        for axis, landscape in zip(row, landscapes, strict=True):
            axis.axhline(0, color=BLACK, lw=0.7)
            if scale == "symlog":
                axis.set_yscale(scale, linthresh=_threshold(histories["gap"]))
            axis.xaxis.set_major_locator(MaxNLocator(2, steps=[1, 5, 10]))
            lines = of_row[of_row["landscape"] == landscape].groupby(["method", "seed"], sort=False)
            for (method, _), line in lines:
                gap, last = averaged(line["gap"].to_numpy())
                colour = COLOURS[methods.index(method) % len(COLOURS)]
                axis.plot(line["epoch"].to_numpy()[last], gap, color=colour, lw=0.5)
        row[0].set_ylabel(label)
    for axis, landscape in zip(axes[0], landscapes, strict=True):
        axis.set_title(landscape.replace("_", " "))
    figure.supxlabel("epoch")
    figure.supylabel("gap G(F) (dimensionless)")
    handles = [
        Line2D([], [], label=name, color=COLOURS[i % len(COLOURS)])
        for i, name in enumerate(methods)
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=columns)
    return figure


def _threshold(gap: pd.Series) -> float:
    """The power of ten below the median size of what is not zero."""
    return 10.0 ** np.floor(np.log10(gap[gap != 0].abs().median()))


def _label(rows: Mapping[str, str], of_row: pd.Series) -> str:
    return ", ".join(label.format(of_row[column]) for column, label in rows.items())
