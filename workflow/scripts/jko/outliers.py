"""A snapshot that does not belong: one that was measured badly, while one energy carries all the others.

A batch effect, foreign cells or a wrong time spoil the residuals of the two intervals that snapshot k ends and begins, r_{k-1} and
r_k (:mod:`jko.weak`), and of no other. Let them be anything: as if their noise had no bound they say nothing then. With
chi^2 and its mean if noise is all that is left, N less what the data determine, of all residuals and of those that stay,

    F_k = (chi^2 - chi^2_k) / n_k / (chi^2_k / mean_k),

is near 1 where the n_k residuals that go are as good as those that stay, and large where they are bad (the variance ratio
of a mean-shift outlier: Cook and Weisberg 1982, section 2.2.2). A snapshot goes where F_k is :data:`_RATIO` times
as large as 1, and as the mean of the snapshots that share no interval with it, where more than half of the intervals stay, and
one energy carries these to their noise; of several that with the largest evidence less n_k, as if each residual that goes were a
parameter (Akaike 1974). Foreign particles that are few raise the noise of their snapshot as much as its means, and may stay.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from jko import weak
from jko.gauss_newton import Climb, free, misfit

# Of a bad snapshot, the least F_k. The largest of thirteen landscapes that are as they should be is 1.4.
_RATIO = 1.6
# Variance of a residual that says nothing, over that of its noise.
_UNBOUNDED = 1e12


class Outlier(NamedTuple):
    """A snapshot that does not belong.

    Attributes:
        snapshot: its number. ratio: F_k. white: noise of the residuals, of which its intervals say nothing.
    """

    snapshot: int
    ratio: float
    white: weak.Noise


def without(white: weak.Noise, intervals: int, gone: list[int]) -> weak.Noise:
    """The noise S of so many intervals, of which those that are ``gone`` say nothing."""
    m = len(white.scale) // intervals
    rows = np.concatenate([np.arange(k * m, (k + 1) * m) for k in gone])
    root = white.scale[:, None] * white.factor
    covariance = root @ root.T
    unbounded = _UNBOUNDED * np.diag(covariance)[rows]
    covariance[rows], covariance[:, rows] = 0.0, 0.0
    covariance[rows, rows] = unbounded
    return weak.factored(covariance)._replace(gone=len(rows))


def find(
    refit: Callable[[weak.Noise], Climb | None],
    white: weak.Noise,
    square: float,
    intervals: int,
    carried: float,
) -> Outlier | None:
    """The snapshot without which the others are carried by one energy, or None.

    Args:
        refit: the steps under a noise, or None where they do not settle. square: chi^2 of all residuals.
        intervals: how many there are.
        carried: largest misfit of what stays.
    """
    seen = {}
    for k in range(intervals + 1):
        gone = [i for i in (k - 1, k) if 0 <= i < intervals]
        if 2 * len(gone) >= intervals:
            continue
        rest = without(white, intervals, gone)
        reached = refit(rest)
        if reached is not None and (missed := misfit(reached, rest)) <= carried:
            left = missed * free(reached, rest)
            evidence = reached.found.evidence - rest.gone
            seen[k] = (square - left) / rest.gone / missed, evidence, rest
    found, highest = None, -np.inf
    for k, (ratio, evidence, rest) in seen.items():
        apart = [other for i, (other, *_) in seen.items() if abs(i - k) > 1]
        if ratio > _RATIO * max(1.0, np.mean(apart or [1.0])) and evidence > highest:
            found, highest = Outlier(k, ratio, rest), evidence
    return found
