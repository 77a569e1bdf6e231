"""Simulated landscapes: level curves of the true and the learned potential, and particles."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from scipy.interpolate import RegularGridInterpolator

from jko.plotting.style import BLUE, GREEN, PAGE, limits, note, styled, thinned

_SIDES = np.array([-1.0, 1.0])


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
        low, high = limits(grid, landscape.observed)
        centre, half = (low + high) / 2, np.max(high - low) / 2
        for axis in (curves, particles):
            axis.set(xlim=centre[0] + half * _SIDES, ylim=centre[1] + half * _SIDES, box_aspect=1)
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
        note(axis, "true V is constant")
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
        note(axis, landscape.note)
    else:
        axis.scatter(*thinned(landscape.predicted, 90).T, marker="x", s=6, color=BLUE, lw=0.5)
