"""Test functions of the weak form: monomials, Gaussian bumps and waves, smoothed by normal noise.

phi_s(x) = E[phi(x + sqrt(2 s) xi)], xi normal, solves the heat equation d phi_s / ds = laplacian phi_s with phi_0 = phi
(:func:`jko.features.smoothed_features` for one point, without waves). All kinds have a closed form, with q = |x - c|^2 and w = sigma + 4 s:

- a power of a coordinate turns into its heat polynomial h_a, h_a' = a h_{a-1}, and a monomial into their product;
- a bump turns into b = (sigma / w)^(d/2) exp(-q / w), with the gradient -2 (x - c) b / w and
  the laplacian (4 q / w^2 - 2 d / w) b. s may be negative, above -sigma / 4;
- the waves cos(k . x) and sin(k . x) have the laplacian -|k|^2 times themselves, and are damped by exp(-|k|^2 s).

In numpy and for all particles at once: every sum, product and exponential stands once, where
automatic derivatives of one point take up to fifteen times as long. All is in float64.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.spatial.distance import cdist

from jko.features import polynomials, powers
from jko.slopes import Slopes
from jko.slopes import gradients as dense

# Where a step throws particles far away, who asks looks whether the answer is finite.
_quiet = np.errstate(over="ignore", invalid="ignore")


def lowest(basis: Mapping) -> float:
    """How far below zero s may go: the narrowest bump keeps three quarters of its sigma, and no wave is raised by more than e."""
    squares = np.sum(waves_of(basis) ** 2, axis=1)
    return -1 / np.max(np.append(squares, 16 / np.min(basis["sigma"])))


@_quiet
def values(basis: Mapping, cloud: np.ndarray, s: float = 0.0) -> np.ndarray:
    """phi_s at the particles of a cloud (n, d): (n, m)."""
    power, place = powers(basis["monomials"], cloud.shape[1])
    heat = np.stack(polynomials(cloud.T, s, power.shape[1]))
    bumps, _, _ = _bumps(basis, cloud, s)
    cosines, sines, _ = _waves(basis, cloud, s)
    return np.concatenate([np.prod(heat[power, place], axis=1).T, bumps, cosines, sines], axis=1)


def count(basis: Mapping) -> int:
    """How many functions there are, m."""
    return len(basis["monomials"]) + len(basis["centers"]) + 2 * len(waves_of(basis))


def waves_of(basis: Mapping) -> np.ndarray:
    """k of every wave: (q, d), none where the basis has no ``waves``."""
    return basis.get("waves", np.zeros((0, basis["centers"].shape[1])))


@_quiet
def slopes(basis: Mapping, cloud: np.ndarray, s: float = 0.0) -> Slopes:
    """grad phi_s at the particles of a cloud (n, d), of m functions."""
    d, p, c = cloud.shape[1], len(basis["monomials"]), len(basis["centers"])
    cosines, sines, waves = _waves(basis, cloud, s)
    columns, values = [[] for _ in range(d)], [[] for _ in range(d)]
    for held, along, slope in _derivatives(basis["monomials"], cloud, s, order=1):
        for i in np.unique(along):
            columns[i].append(held[along == i])
            values[i].append(slope[along == i].T)
    bumps, width, _ = _bumps(basis, cloud, s)
    bumps *= -2 / width
    for i in range(d):
        columns[i].append(np.arange(p, p + c))
        values[i].append((cloud[:, i, None] - basis["centers"][None, :, i]) * bumps)
        held = np.flatnonzero(waves[:, i])
        columns[i] += [p + c + held, p + c + len(waves) + held]
        values[i] += [-waves[held, i] * sines[:, held], waves[held, i] * cosines[:, held]]
    values = [np.concatenate(value, axis=1) for value in values]
    return Slopes([np.concatenate(column) for column in columns], values, count(basis))


def gradients(basis: Mapping, cloud: np.ndarray, s: float = 0.0) -> np.ndarray:
    """grad phi_s at the particles of a cloud (n, d): (n, d, m)."""
    return dense(slopes(basis, cloud, s))


@_quiet
def laplacians(basis: Mapping, cloud: np.ndarray, s: float = 0.0) -> np.ndarray:
    """laplacian phi_s at the particles of a cloud (n, d): (n, m)."""
    (n, d), p, c = cloud.shape, len(basis["monomials"]), len(basis["centers"])
    found = np.zeros((n, count(basis)))
    for held, _, curvature in _derivatives(basis["monomials"], cloud, s, order=2):
        found[:, held] += curvature.T
    bumps, width, squared = _bumps(basis, cloud, s)
    found[:, p : p + c] = (4 * squared / width**2 - 2 * d / width) * bumps
    cosines, sines, waves = _waves(basis, cloud, s)
    found[:, p + c :] = -np.tile(np.sum(waves**2, axis=1), 2) * np.hstack([cosines, sines])
    return found


def _derivatives(monomials, cloud, s, order):
    """For every place of a factor which monomials have a derivative of this order by it (h,), by which
    coordinate (h,), and the derivative at the particles (h, n).
    """
    power, place = powers(monomials, cloud.shape[1])
    heat = np.stack(polynomials(cloud.T, s, power.shape[1]))
    for factor in range(power.shape[1]):
        held = np.flatnonzero(power[:, factor] >= order)
        a, along = power[held, factor], place[held, factor]
        found = (a if order == 1 else a * (a - 1))[:, None] * heat[a - order, along]
        for other in set(range(power.shape[1])) - {factor}:
            found *= heat[power[held, other], place[held, other]]
        yield held, along, found


def _bumps(basis, cloud, s):
    """The bumps b at the particles (n, c), their widths w (c,) and the squared distances q (n, c)."""
    sigma = np.broadcast_to(basis["sigma"], len(basis["centers"]))
    width = sigma + 4 * s
    squared = cdist(cloud, basis["centers"], "sqeuclidean")
    return (sigma / width) ** (cloud.shape[1] / 2) * np.exp(-squared / width), width, squared


def _waves(basis, cloud, s):
    """The waves cos(k . x) and sin(k . x), damped, at the particles (n, q) each, and their k (q, d)."""
    waves = waves_of(basis)
    damped, phase = np.exp(-np.sum(waves**2, axis=1) * s), cloud @ waves.T
    return damped * np.cos(phase), damped * np.sin(phase), waves
