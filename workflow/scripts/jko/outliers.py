"""A snapshot that does not belong: one that was measured badly, while one energy carries all the others.

A batch effect, foreign cells or a wrong time spoil the residuals of the two intervals that snapshot k ends and begins, r_{k-1} and
r_k (:mod:`jko.weak`), and of no other. Let them be anything: as if their noise had no bound they say nothing then. With
chi^2 and its mean if noise is all that is left, N less what the data determine, of all residuals and of those that stay,

    F_k = (chi^2 - chi^2_k) / n_k / (chi^2_k / mean_k)

is near 1 where the n_k residuals that go are as good as those that stay, and large where they are bad (the variance ratio of a
mean-shift outlier: Cook and Weisberg 1982, section 2.2.2). So it is, too, where the energy misses what moves particles in these
intervals. But the error of a snapshot's means stands in the two with opposite signs: in units of their noise,

    opposite_k = -z_{k-1} . z_k / (|z_{k-1}| |z_k|)

is near 1, to first order in tau, for a bad snapshot under the energy that was learned without it, 1/2 in the mean for
sampling noise, which they share in the same way, and below where an energy misses the same motion in both. A drift that goes one way and then
back is no different from a bad snapshot, and no data tell the two apart. A snapshot goes where one energy carries what stays to its noise, F_k is above :data:`_RATIO`
and opposite_k above :data:`_OPPOSITE`; of several that with the largest evidence. The first and the last have one interval alone, and
stay, as do all where not more than half of the intervals would be left. What goes are its residuals: the units, the centres of bumps
and the scaling of monomials still see its particles.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from jko import weak
from jko.gauss_newton import Climb, free, misfit

# Least F_k and opposite_k of a bad snapshot.
_RATIO, _OPPOSITE = 1.7, 0.75
# Variance of a residual that says nothing, over that of its noise.
_UNBOUNDED = 1e12


class Outlier(NamedTuple):
    """A snapshot that does not belong: its number, and F_k."""

    snapshot: int
    ratio: float


def without(white: weak.Noise, intervals: int, snapshot: int) -> weak.Noise:
    """The noise S of so many intervals, of which the two of an inner snapshot say nothing."""
    m = len(white.scale) // intervals
    rows = np.arange((snapshot - 1) * m, (snapshot + 1) * m)
    covariance = weak.covariance_of(white)
    unbounded = _UNBOUNDED * np.diag(covariance)[rows]
    covariance[rows], covariance[:, rows] = 0.0, 0.0
    covariance[rows, rows] = unbounded
    rest = weak.factored(covariance)
    filled = rest.filled + white.filled
    filled[rows] = 0.0
    return rest._replace(gone=len(rows), filled=filled)


def find(
    refit: Callable[[int], tuple[Climb, weak.Noise, np.ndarray] | None],
    whole: Climb,
    white: weak.Noise,
    intervals: int,
    carried: float,
) -> Outlier | None:
    """The snapshot without which the others are carried by one energy, or None.

    Args:
        refit: the steps without a snapshot, their noise, and all residuals (N,) where they ended; None where they do not settle.
        whole: the steps with all snapshots. white: their noise. carried: misfit up to which one energy carries what is there.
    """
    square = misfit(whole, white) * free(whole, white)
    if intervals <= 4 or misfit(whole, white) < carried:
        return None
    found, highest = None, -np.inf
    for k in range(1, intervals):
        fitted = refit(k)
        if fitted is None or (missed := misfit(*fitted[:2])) > carried:
            continue
        reached, rest, residual = fitted
        ratio = (square - missed * free(reached, rest)) / rest.gone / missed
        before, behind = (residual / white.scale).reshape(intervals, -1)[k - 1 : k + 1]
        opposite = -before @ behind / np.sqrt((before @ before) * (behind @ behind))
        evidence = reached.found.evidence
        if ratio > _RATIO and opposite > _OPPOSITE and evidence > highest:
            found, highest = Outlier(k, ratio), evidence
    return found
