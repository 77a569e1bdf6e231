"""Simulated landscapes: the slope of V along a line, true, learned, and how sure a method is of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from jko.plotting.style import BLACK, BLUE, GREEN, ORANGE, PAGE, PURPLE, VERMILLION, styled

# Black is the truth.
_LINES = ((BLUE, "-"), (VERMILLION, "--"), (ORANGE, ":"), (PURPLE, "-."), (GREEN, "-"))
# How far beyond the true slopes a panel reaches, as a share of their range.
_BEYOND = 0.75


@dataclasses.dataclass(frozen=True)
class Cut:
    """dV/dx_1 along a line in the direction of x_1.

    Attributes:
        name: of the potential. x: (g,) places. true: (g,).
        learned: {method: (g,)}, without those that failed.
        deviation: {method: (g,)} posterior standard deviations, of the methods that have one.
    """

    name: str
    x: np.ndarray
    true: np.ndarray
    learned: Mapping[str, np.ndarray]
    deviation: Mapping[str, np.ndarray]


@styled
def cuts(found: Sequence[Cut], methods: Sequence[str], width: float, columns: int = 6) -> Figure:
    """The slopes of every landscape, a panel each.

    Args:
        methods: those with a posterior have a band, and the first colours.
        width: of half a band, in standard deviations.
    """
    columns = min(columns, len(found))
    rows = -(-len(found) // columns)
    figure = Figure(figsize=(PAGE, 0.6 + 1.15 * rows), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.01, h_pad=0.02, wspace=0.02, hspace=0.02)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    methods = sorted(methods, key=lambda method: not any(method in cut.deviation for cut in found))
    lines = dict(zip(methods, _LINES, strict=False))
    for axis, cut in zip(axes, found, strict=False):
        axis.set_title(cut.name.replace("_", " "))
        _slopes(axis, cut, lines, width)
    for axis in axes[len(found) :]:
        axis.set_axis_off()
    figure.supxlabel("$x_1$ (dimensionless)")
    figure.supylabel(r"$\partial V / \partial x_1$ (length / time)")
    handles = [Line2D([], [], color=BLACK, lw=1.4, alpha=0.6, label="true")]
    for method, (colour, style) in lines.items():
        handles.append(Line2D([], [], color=colour, ls=style, lw=0.9, label=method))
        if any(method in cut.deviation for cut in found):
            handles.append(Patch(color=colour, alpha=0.25, lw=0, label="its 90 % interval"))
    figure.legend(loc="outside upper center", ncols=len(handles), handles=handles)
    return figure


def _slopes(axis: Axes, cut: Cut, lines: Mapping, width: float) -> None:
    axis.plot(cut.x, cut.true, color=BLACK, lw=1.4, alpha=0.6)
    for method, (colour, style) in lines.items():
        if method not in cut.learned:
            continue
        mean = cut.learned[method]
        axis.plot(cut.x, mean, color=colour, ls=style, lw=0.9)
        if method in cut.deviation:
            half = width * cut.deviation[method]
            axis.fill_between(cut.x, mean - half, mean + half, color=colour, alpha=0.25, lw=0)
    low, high = _range(cut)
    axis.set(xlim=(cut.x[0], cut.x[-1]), ylim=(low, high))
    axis.xaxis.set_major_locator(MaxNLocator(3, integer=True))
    axis.yaxis.set_major_locator(MaxNLocator(3))
    axis.tick_params(pad=1.5)


def _range(cut: Cut) -> tuple[float, float]:
    """All of the true slopes, and something of what lies beyond; of a flat V, of what was learned."""
    low, high = np.min(cut.true), np.max(cut.true)
    if high - low < 1e-6 * max(1, abs(high)):
        reach = max([np.max(np.abs(line - low)) for line in cut.learned.values()], default=1.0)
        return low - 1.1 * reach, high + 1.1 * reach
    return low - _BEYOND * (high - low), high + _BEYOND * (high - low)
