"""Pulls of an interaction on the particles of one snapshot: sums over pairs, in closed form.

W is made of chi, even in z = x - y, by the sigma_q of Gaussians (``ranges``) and the rows i, j of quadratic forms (``forms``), in
this order (:func:`jko.weak_energy.kernels`):

    chi = exp(-|z|^2 / sigma_q)    grad chi = -2 / sigma_q exp(-|z|^2 / sigma_q) z
    chi = |z|^2 / 2                grad chi = z
    chi = z_i z_j                  grad chi = z_j e_i + z_i e_j

A Gaussian costs an exponential for each pair and a product of matrices; automatic derivatives of every pair, by every
coordinate, take many times as long. The others take means alone. In numpy and float64.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from scipy.spatial.distance import cdist

from jko.features import degrees, monomials
from jko.slopes import Slopes, at, gradients

# Most numbers of a block of pairs.
_BLOCK = 2**21


def kernel_of(d: int, settings: Mapping) -> dict[str, np.ndarray]:
    """What W is made of: sigma of every Gaussian, and the quadratic forms; where not all fit, the squares of coordinates."""
    rows = monomials(d, 2, max(settings["max_polynomials"], 2 * d))
    ranges = np.geomspace(*settings["ranges"], settings["kernels"])
    return {"ranges": ranges, "forms": rows[degrees(rows, d) == 2]}


def count(kernel: Mapping) -> int:
    """How many chi there are."""
    return len(kernel["ranges"]) + 1 + len(kernel["forms"])


def mean_gradients(kernel: Mapping, cloud: np.ndarray) -> np.ndarray:
    """Mean over the other particles y of a cloud (n, d) of grad chi(x - y), for each x: (n, d, q)."""
    n, bells = len(cloud), len(kernel["ranges"])
    found = np.zeros((*cloud.shape, count(kernel)))
    # A particle adds nothing to its own: chi has no slope at zero.
    for rows in _blocks(n, n):
        square = cdist(cloud[rows], cloud, "sqeuclidean")
        for q, sigma in enumerate(kernel["ranges"]):
            bell = np.exp(-square / sigma)
            apart = bell.sum(axis=1)[:, None] * cloud[rows] - bell @ cloud
            found[rows, :, q] = -2 / sigma * apart
    apart = n * (cloud - cloud.mean(axis=0))
    found[:, :, bells] = apart
    for q, (i, j) in enumerate(kernel["forms"], start=bells + 1):
        found[:, i, q] += apart[:, j]
        found[:, j, q] += apart[:, i]
    return found / (n - 1)


def weighted_gradients(
    kernel: Mapping, cloud: np.ndarray, points: np.ndarray, slope: Slopes, seen: np.ndarray
) -> np.ndarray:
    """sum_j v_j . sum_i grad phi(x_i) . grad chi(x_i - x_j) / (n - 1) over x_j of a cloud (n, d) and points x_i (b, d): (q,).

    Args:
        slope: grad phi of m functions at the points. seen: (n, m) v.
    """
    (n, d), bells = cloud.shape, np.zeros(len(kernel["ranges"]))
    cross = np.zeros((d, d))  # sum over pairs of g_i z_j, with g = v_j . grad phi(x_i)
    for rows in _blocks(len(points), n):
        x, slopes_x = points[rows], gradients(at(slope, rows))
        square, along = cdist(x, cloud, "sqeuclidean"), np.zeros((len(x), n))  # of g and z
        for c in range(d):
            g = slopes_x[:, c] @ seen.T  # (b, n)
            along += g * (x[:, c, None] - cloud[None, :, c])
            cross[c] += g.sum(axis=1) @ x - g.sum(axis=0) @ cloud
        for q, sigma in enumerate(kernel["ranges"]):
            bells[q] -= 2 / sigma * np.vdot(np.exp(-square / sigma), along)
    i, j = np.transpose(kernel["forms"])
    return np.concatenate([bells, [np.trace(cross)], cross[i, j] + cross[j, i]]) / (n - 1)


def _blocks(rows: int, size: int) -> Iterator[slice]:
    """Rows, some at a time, each with so many numbers."""
    step = max(1, _BLOCK // size)
    return (slice(start, start + step) for start in range(0, rows, step))
