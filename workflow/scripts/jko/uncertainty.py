"""How sure a fit is of what it learned, and how often it is right to be.

A method with a Gaussian posterior gives the covariance of grad V at every point and the mean and deviation of beta. An interval

    estimate -+ z deviation,    z = Phi^{-1}((1 + level) / 2),

holds the truth in a share ``level`` of repeats of the data, if the posterior is right: its coverage. Over the repeats
alone, that is; the points of one fit stand or fall together.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.stats import norm
from jax.tree_util import Partial

from jko.energies import Energy
from jko.metrics import uvp

# Nominal share of the intervals that hold the truth.
LEVEL = 0.9


class Uncertainty(NamedTuple):
    """A Gaussian posterior, as far as an energy shows it.

    Attributes:
        covariance: of grad V at x (d,) and t (): (d, d).
        beta: posterior mean, not bounded below, or None where beta is not learned. beta_deviation: its standard deviation.
    """

    covariance: Partial
    beta: float | None = None
    beta_deviation: float | None = None


def quantile(level: float = LEVEL) -> float:
    """z, half the width of an interval in standard deviations."""
    return float(norm.ppf((1 + level) / 2))


@jax.jit
def _gaps(energy: Energy, truth: Energy, covariance: Partial, cloud: Array, t: Array) -> Array:
    def of(x):
        gap = jax.grad(energy.potential)(x, t) - jax.grad(truth.potential)(x, t)
        return jnp.abs(gap) / jnp.sqrt(jnp.diag(covariance(x, t)))

    return jax.vmap(of)(cloud)


def gradient_coverage(
    energy: Energy, truth: Energy, covariance: Partial, cloud: np.ndarray, t: float
) -> float:
    """Share of the components of grad V_true at the particles of a cloud (n, d) within the intervals."""
    gaps = _gaps(energy, truth, covariance, jnp.asarray(cloud, jnp.float32), jnp.float32(t))
    return float(jnp.mean(gaps <= quantile())) if jnp.isfinite(gaps).all() else float("nan")


def beta_coverage(found: Uncertainty, beta: float) -> float:
    """1 where the interval of beta holds the true one, else 0; the part of it below zero counts."""
    return float(abs(found.beta - beta) <= quantile() * found.beta_deviation)


@jax.jit
def _mean_trace(covariance: Partial, cloud: Array, t: Array) -> Array:
    return jnp.mean(jax.vmap(lambda x: jnp.trace(covariance(x, t)))(cloud))


def expected_l2_uvp(
    covariance: Partial, cloud: np.ndarray, next_cloud: np.ndarray, t: float, tau: float
) -> float:
    """The L2-UVP (:func:`jko.metrics.l2_uvps`) that the posterior expects of its own mean, in %:
    100 tau^2 E_{rho_{k+1}} tr Cov(grad V) / Var(rho_k). No truth is needed.

    NaN if the cloud does not vary.
    """
    spread = float(_mean_trace(covariance, jnp.asarray(next_cloud, jnp.float32), jnp.float32(t)))
    return uvp(spread, cloud, tau)


def slopes(energy: Energy, points: np.ndarray, t: float) -> np.ndarray:
    """dV/dx_1 at points (n, d) at time t: (n,)."""
    points = jnp.asarray(points, jnp.float32)
    return np.asarray(_slopes(energy, points, jnp.float32(t))[:, 0])


@jax.jit
def _slopes(energy: Energy, points: Array, t: Array) -> Array:
    return jax.vmap(jax.grad(energy.potential), in_axes=(0, None))(points, t)


def slope_deviations(covariance: Partial, points: np.ndarray, t: float) -> np.ndarray:
    """Posterior standard deviation of dV/dx_1 at points (n, d) at time t: (n,)."""
    each = jax.vmap(covariance, in_axes=(0, None))
    spread = jax.jit(each)(jnp.asarray(points, jnp.float32), jnp.float32(t))
    return np.sqrt(np.asarray(spread[:, 0, 0]))
