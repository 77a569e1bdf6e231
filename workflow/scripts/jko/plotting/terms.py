"""Errors of the terms of an energy against the true beta, over a grid of potentials and interactions."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from jko.plotting.style import (
    BLACK,
    GREY,
    ORANGE,
    PAGE,
    log_ticks,
    method_styles,
    styled,
)

# Metric, label of the axis, references that are drawn as ticks, and whether the axis is logarithmic.
_PANELS = (
    ("l2_uvp_potential", "(a) L2-UVP of the\npotential (%)", {"zero_energy": BLACK}, True),
    (
        "l2_uvp_interaction",
        "(b) L2-UVP of the\ninteraction (%)",
        {"zero_energy": BLACK, "even_oracle": ORANGE},
        True,
    ),
    (
        "l2_uvp_drift",
        "(c) L2-UVP of the drift,\nV and W together (%)",
        {"zero_energy": BLACK},
        True,
    ),
    ("beta_hat", "(d) learned beta\n(length² / time)", {}, False),
    ("w1_ratio", "(e) EMD over oracle's\n(dimensionless)", {"identity": BLACK}, False),
)
# Errors in % below which a reference is zero.
_ROUNDING = 1e-9


@styled
def by_beta(summary: pd.DataFrame, methods: Mapping[str, Mapping]) -> Figure:
    """A panel for each metric: median cell and quartiles, of beta the mean and deviation of fits.

    Args:
        summary: columns method, beta, metric, median, low, high, mean, std.
        methods: {name: settings with `scheme`} of the methods to draw; references
            (V = W = 0, the even part of W) are ticks.
    """
    betas = sorted(summary["beta"].unique())
    look = method_styles(methods)
    figure = Figure(figsize=(PAGE, 3.9), layout="constrained")
    *axes, last = figure.subplots(2, 3).flat
    failed, shown = False, {GREY}
    for axis, (metric, label, ticks, logarithmic) in zip(axes, _PANELS, strict=True):
        rows = summary[summary["metric"] == metric]
        if logarithmic:
            axis.set_yscale("log", nonpositive="clip")
        for place in range(0, len(betas), 2):
            axis.axvspan(place - 0.5, place + 0.5, color="#F2F2F2", lw=0, zorder=0)
        failed = _dots(axis, rows, betas, look, metric == "beta_hat") or failed
        for name, colour in ticks.items():
            of_reference = rows[rows["method"] == name].set_index("beta").reindex(betas)
            if _ticks(axis, of_reference["median"].to_numpy(), colour):
                shown.add(colour)
        if metric == "beta_hat":
            _ticks(axis, np.asarray(betas), GREY)
        elif metric == "w1_ratio":
            axis.axhline(1, color=GREY, lw=0.6)
        if logarithmic:
            log_ticks(axis)
        axis.set_ylabel(label)
        axis.set_xticks(np.arange(len(betas)), [f"{beta:g}" for beta in betas])
        axis.set_xlim(-0.5, len(betas) - 0.5)
        axis.set_xlabel("true beta (length² / time)")
    handles = [Line2D([], [], label=name, ls="", **style) for name, style in look.items()]
    for colour, text in ((BLACK, "V = 0, W = 0"), (ORANGE, "even part of W"), (GREY, "true beta")):
        if colour in shown:
            handles.append(Line2D([], [], color=colour, lw=1.2, label=text))
    if failed:
        handles.append(Line2D([], [], color=BLACK, ls="", marker="x", label="every fit failed"))
    last.axis("off")
    last.legend(handles=handles, loc="center")
    return figure


def _ticks(axis: Axes, heights: np.ndarray, colour: str) -> bool:
    """A line at each height that has a place; true where there is one."""
    # Those of a reference that is zero but for rounding have no place on a logarithmic axis.
    shown = np.where((heights > _ROUNDING) | (axis.get_yscale() == "linear"), heights, np.nan)
    place = np.arange(len(heights))
    axis.hlines(shown, place - 0.42, place + 0.42, colors=colour, lw=1.2)
    return bool(np.isfinite(shown).any())


def _dots(
    axis: Axes,
    rows: pd.DataFrame,
    betas: list[float],
    look: Mapping[str, Mapping],
    of_fits: bool,
) -> bool:
    """One dot and its spread for each method and beta; true where one has no number at all."""
    shift = np.linspace(-0.3, 0.3, len(look)) if len(look) > 1 else [0.0]
    failed = False
    for (name, style), move in zip(look.items(), shift, strict=True):
        of_method = rows[rows["method"] == name].set_index("beta").reindex(betas)
        if of_fits:
            middle = of_method["mean"].to_numpy()
            below = above = np.nan_to_num(of_method["std"].to_numpy())
        else:
            middle = of_method["median"].to_numpy()
            below = middle - of_method["low"].to_numpy()
            above = of_method["high"].to_numpy() - middle
        x, lost = np.arange(len(betas)) + move, np.isnan(middle)
        spread = np.stack([below, above])[:, ~lost]
        axis.errorbar(x[~lost], middle[~lost], yerr=spread, **style, ls="", elinewidth=0.7)
        if lost.any():
            place = {"transform": axis.get_xaxis_transform(), "clip_on": False, "ls": ""}
            axis.plot(x[lost], np.ones(lost.sum()), marker="x", ms=3, color=style["color"], **place)
            failed = True
    return failed
