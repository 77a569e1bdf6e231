"""Errors by dimension, and time by number of particles: a column of panels for each method."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter

from jko.plotting.style import BLACK, MARKERS, PAGE, log_ticks, styled

# Metric, label of the axis, and the reference that is drawn as a line.
_ERRORS = (
    ("w1_per_sqrt_d", "(a) EMD / √d\n(dimensionless)", "identity"),
    ("l2_uvp", "(b) L2-UVP of the\npotential (%)", "zero_energy"),
)
_JOBS = {"train_seconds": "-", "couple_seconds": "--"}


def shades(count: int, name: str) -> list[tuple]:
    """So many colours from dark to light of a map that falls evenly in lightness, never near white."""
    return [mpl.colormaps[name](place) for place in np.linspace(0.05, 0.8, count)]


@styled
def by_dimension(summary: pd.DataFrame, methods: Sequence[str]) -> Figure:
    """Medians over landscapes; rows of errors against the dimension, the last of seconds.

    Args:
        summary: columns potential, dimension, particles, method, metric, mean.
        methods: methods to draw, each with its column; V = 0, whose prediction is ``identity``, is
            a line in all of them.
    """
    middle = summary.groupby(["metric", "method", "dimension", "particles"])["mean"].median()
    dimensions, particles = (sorted(summary[name].unique()) for name in ("dimension", "particles"))
    looks = {
        "particles": _looks(particles, "viridis"),
        "dimension": _looks(dimensions, "magma"),
    }
    figure = Figure(figsize=(PAGE, 5.2), layout="constrained")
    axes = figure.subplots(3, len(methods), squeeze=False, sharey="row", sharex="row")
    for column, method in zip(axes.T, methods, strict=True):
        column[0].set_title(method)
        for axis, (metric, _, reference) in zip(column, _ERRORS, strict=False):
            of_zero = middle.get((metric, reference))
            if of_zero is not None:
                line = of_zero.groupby("dimension").median()
                axis.plot(line.index, line, color=BLACK, ls="--", lw=0.9)
            _lines(axis, middle.get((metric, method)), "particles", "dimension", looks)
            axis.set_xticks(dimensions)
            axis.set_xlabel("dimension d")
        for metric, dashes in _JOBS.items():
            _lines(column[2], middle.get((metric, method)), "dimension", "particles", looks, dashes)
        column[2].set_xscale("log")
        column[2].set_xticks(particles, [f"{n:g}" for n in particles], rotation=40)
        column[2].xaxis.set_minor_formatter(NullFormatter())
        column[2].set_xlabel("train particles n")
        for axis in column:
            axis.set_yscale("log", nonpositive="mask")
    for axis, label in zip(
        axes[:, 0], (*(row[1] for row in _ERRORS), "(c) whole job\n(s)"), strict=True
    ):
        axis.set_ylabel(label)
        log_ticks(axis)
    zero = [Line2D([], [], color=BLACK, ls="--", lw=0.9, label="V = 0")]
    _legend(figure, [*_handles(looks["particles"], "n"), *zero], "upper")
    dashes = [
        Line2D([], [], color=BLACK, ls=ls, lw=0.9, label=label)
        for ls, label in zip(_JOBS.values(), ("training", "coupling"), strict=True)
    ]
    _legend(figure, [*_handles(looks["dimension"], "d"), *dashes], "lower")
    return figure


def _looks(values: Sequence, name: str) -> dict:
    colours = shades(len(values), name)
    return {
        value: {"color": colour, "marker": MARKERS[i % len(MARKERS)]}
        for i, (value, colour) in enumerate(zip(values, colours, strict=True))
    }


def _lines(
    axis: Axes, numbers: pd.Series | None, by: str, along: str, looks: dict, dashes: str = "-"
) -> None:
    """A line for each value of one key of the numbers, along the other."""
    if numbers is None:
        return
    for value, style in looks[by].items():
        line = numbers[numbers.index.get_level_values(by) == value]
        axis.plot(line.index.get_level_values(along), line, **style, lw=0.9, ls=dashes, ms=2.8)


def _handles(looks: dict, word: str) -> list[Line2D]:
    return [
        Line2D([], [], **style, lw=0.9, ms=2.8, label=f"{word} = {value}")
        for value, style in looks.items()
    ]


def _legend(figure: Figure, handles: Sequence[Line2D], place: str) -> None:
    figure.legend(handles=handles, loc=f"outside {place} center", ncols=len(handles))
