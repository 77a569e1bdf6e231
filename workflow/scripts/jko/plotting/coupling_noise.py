"""Why pairs of particles say less than means: their displacements, and what both say of test functions."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from jko.plotting.style import BLACK, BLUE, ORANGE, PAGE, VERMILLION, styled

_LOOKS = ((BLUE, "-", "o"), (VERMILLION, "--", "s"), (ORANGE, ":", "^"))


@dataclasses.dataclass(frozen=True)
class Readings:
    """One landscape.

    Attributes:
        name: of the potential. place: (n,) x_1 of particles. true: (n,) what they move along x_1 in one interval.
        coupled_place, coupled: (p,) the same of the pairs of a coupling.
        widths: (w,) of test functions. errors: (S, w, r) of the readings of every seed.
    """

    name: str
    place: np.ndarray
    true: np.ndarray
    coupled_place: np.ndarray
    coupled: np.ndarray
    widths: np.ndarray
    errors: np.ndarray


@styled
def coupling_noise(found: Sequence[Readings], names: Sequence[str]) -> Figure:
    """Above, displacements of particles and of pairs; below, errors of the named readings by the width of the test functions."""
    figure = Figure(figsize=(PAGE, 4.2), layout="constrained")
    axes = figure.subplots(2, len(found), sharey="row", squeeze=False)
    for (above, below), one in zip(axes.T, found, strict=True):
        above.set_title(one.name.replace("_", " "))
        above.plot(one.coupled_place, one.coupled, ".", ms=2, color=VERMILLION, alpha=0.5, mew=0)
        above.plot(one.place, one.true, ".", ms=2, color=BLACK, mew=0)
        above.set_xlabel("$x_1$ (dimensionless)")
        for r, (colour, style, marker) in enumerate(_LOOKS[: len(names)]):
            seeds = one.errors[:, :, r]
            below.fill_between(
                one.widths, seeds.min(axis=0), seeds.max(axis=0), color=colour, alpha=0.2, lw=0
            )
            below.plot(
                one.widths, seeds.mean(axis=0), ls=style, marker=marker, ms=3, color=colour, lw=1
            )
        below.axhline(1, color=BLACK, lw=0.6)
        below.set(xscale="log", yscale="log", xlabel="width of the test functions (dimensionless)")
        below.set_xticks(one.widths, [f"{width:g}" for width in one.widths])
        below.set_yticks([0.5, 1, 2, 5, 10], ["0.5", "1", "2", "5", "10"])
        below.minorticks_off()
    axes[0, 0].set_ylabel("displacement along $x_1$\nin an interval")
    axes[1, 0].set_ylabel("error / sampling noise")
    handles = [
        Line2D([], [], ls="", marker=".", color=BLACK, label="true displacement"),
        Line2D([], [], ls="", marker=".", color=VERMILLION, label="of pairs"),
        *(
            Line2D([], [], ls=style, marker=marker, ms=3, color=colour, label=name)
            for name, (colour, style, marker) in zip(names, _LOOKS, strict=False)
        ),
        Line2D([], [], color=BLACK, lw=0.6, label="sampling noise"),
    ]
    figure.legend(loc="outside upper center", ncols=len(handles), handles=handles)
    return figure
