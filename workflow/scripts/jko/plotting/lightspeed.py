"""What methods reach on every landscape, beside what an epoch of each takes (jkonet_star figure 3)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from jko.plotting.errors import draw, row_height
from jko.plotting.style import PAGE, legend_columns, method_styles, styled


@styled
def errors_and_seconds(
    errors: pd.DataFrame, seconds: pd.Series, methods: Mapping[str, Mapping]
) -> Figure:
    """Errors by landscape on the left, seconds of an epoch on the right, in one set of markers.

    Args:
        errors: columns landscape, method, mean, std of the one-step EMD, with the method identity.
            An exact prediction of paired particles has none: it stands at the left edge.
        seconds: indexed by method. methods: {name: settings with `scheme`}.
    """
    own = pd.Series({name: settings["scheme"] for name, settings in methods.items()})
    errors = errors[errors["scheme"] == errors["method"].map(own).fillna(errors["scheme"])]
    references = {"identity": "standing still"}
    rows = errors["landscape"].nunique()
    figure = Figure(figsize=(PAGE, 1.1 + row_height(methods) * rows), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[2, 1])
    label = "(a) one-step EMD (dimensionless)"
    handles = draw(left, errors, methods, references, label, "family")
    right.set_xscale("log")
    for place, (name, look) in enumerate(method_styles(methods).items()):
        right.plot(seconds.get(name, np.nan), place, ls="", **look)
    right.set_yticks(np.arange(len(methods)), methods)
    right.set_ylim(len(methods) - 0.5, -0.5)
    right.set(xlabel="(b) time of an epoch (s)", ylabel="method")
    right.grid(axis="y", color="#E4E4E4", lw=5, zorder=0)
    right.set_axisbelow(True)
    right.tick_params(axis="y", length=0)
    columns = legend_columns([handle.get_label() for handle in handles], PAGE)
    figure.legend(handles=handles, loc="outside upper center", ncols=columns)
    return figure
