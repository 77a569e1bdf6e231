"""Curves through unpaired particles: chains of couplings, joined over time.

A chain holds one particle of every snapshot, each the partner of the one before in a coupling of the two
snapshots. The curve through a chain is a polygon, on which particles move as along a geodesic of W2
between neighbouring snapshots, or the natural cubic spline, of all curves the one with
the least integral of |x''|^2 (Chewi et al., *Fast and smooth interpolation on Wasserstein space*, 2021).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy.interpolate import CubicSpline, PPoly

from jko.couplings import CoupledRows, by_interval, of_seed
from jko.snapshots import Snapshots

Curve = Literal["spline", "linear"]


def chains(
    snapshots: Snapshots, coupling: CoupledRows, s: int, k: int, rng: np.random.Generator
) -> np.ndarray:
    """A chain through every train particle of snapshot k of the ``s``-th seed: (K, n_k, d).

    Raises:
        ValueError: the coupling holds a row that is not a train row of the seed,
            or lacks a particle on the way.
    """
    pairs = by_interval(of_seed(coupling, snapshots, s))
    rows = {k: snapshots.rows(s, "train", k)}
    for m in range(k, len(pairs)):
        i, j, weight = pairs[m]
        rows[m + 1] = partners(rows[m], i, j, weight, rng)
    for m in reversed(range(k)):
        i, j, weight = pairs[m]
        rows[m] = partners(rows[m + 1], j, i, weight, rng)
    return snapshots.x[np.stack([rows[m] for m in range(len(snapshots.time))])]


def partners(
    chosen: np.ndarray, i: np.ndarray, j: np.ndarray, weight: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """One partner of each chosen row, drawn by the weights of its pairs (i, j): (n,) of j.

    Raises:
        ValueError: a chosen row has no pair.
    """
    order = np.argsort(i, kind="stable")
    first = np.searchsorted(i[order], chosen, side="left")
    last = np.searchsorted(i[order], chosen, side="right") - 1
    if np.any(last < first):
        row = chosen[np.flatnonzero(last < first)[0]]
        raise ValueError(f"row {row} has no pair in the coupling, which must hold every train row")
    mass = np.concatenate([[0.0], np.cumsum(weight[order])])
    place = mass[first] + rng.uniform(size=len(chosen)) * (mass[last + 1] - mass[first])
    drawn = np.searchsorted(mass, place, side="right") - 1
    return j[order[np.clip(drawn, first, last)]]


def through(along: np.ndarray, time: np.ndarray, curve: Curve) -> PPoly:
    """The curves through chains (K, n, d) at times (K,): a function of one time for all, () to (n, d)."""
    if curve == "linear":
        slope = np.diff(along, axis=0) / np.diff(time)[:, None, None]
        return PPoly(np.stack([slope, along[:-1]]), time)
    return CubicSpline(time, along, bc_type="natural")


def at(paths: PPoly, m: int, time: np.ndarray) -> np.ndarray:
    """Each of n curves at a time of its own (n,) within interval m: (n, d)."""
    since = (time - paths.x[m])[:, None]
    value = np.zeros(paths.c.shape[2:])
    for coefficient in paths.c[:, m]:
        value = value * since + coefficient
    return value
