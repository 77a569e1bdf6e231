"""Test functions of the weak form: monomials and Gaussian bumps, smoothed by normal noise.

phi_s(x) = E[phi(x + sqrt(2 s) xi)], xi normal, solves the heat equation d phi_s / ds = laplacian phi_s with phi_0 = phi. It
has a closed form for both, so that its derivatives cost no more than those of phi. All is in float64.
"""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array


def smoothed(basis: Mapping, s: Array, z: Array) -> Array:
    """phi_s(z): (m,), the mean of every feature (:func:`jko.features.features`) at z (d,) + sqrt(2 s) xi, xi normal.

    For a power h_0 = 1, h_1 = z, h_{a+1} = z h_a + 2 s a h_{a-1} (heat polynomials); for a bump

        (sigma / (sigma + 4 s))^(d/2) exp(-|z - c|^2 / (sigma + 4 s)).

    s may be negative, above -sigma / 4.
    """
    power, place = _factors(basis["monomials"], z.size)
    powers = jax.vmap(_power, in_axes=(0, None, 0))(power, s, z[place])
    return jnp.concatenate([powers, _of_bumps(_bump, basis, s, z)])


def _factors(monomials, d):
    """Of every monomial the power and the coordinate of each of its factors: (p, width) both."""
    # One that stands more than once in its row has its power at the first place, and 0 at the others.
    same = monomials[:, :, None] == monomials[:, None, :]
    first = ~jnp.any(jnp.tril(same, -1), axis=2) & (monomials < d)
    return jnp.where(first, jnp.sum(same, axis=2), 0), jnp.minimum(monomials, d - 1)


def _power(power, s, y):
    """Product of the heat polynomials of y (width,), of the degrees in ``power``."""
    heat = [jnp.ones_like(y), y]
    for a in range(1, len(y)):
        heat.append(y * heat[a] + 2 * s * a * heat[a - 1])
    return jnp.prod(jnp.take_along_axis(jnp.stack(heat), power[None, :], axis=0))


def _bump(sigma, s, center, z):
    wide = sigma + 4 * s
    return (sigma / wide) ** (z.size / 2) * jnp.exp(-jnp.sum((z - center) ** 2) / wide)


def _of_bumps(function, basis, s, z):
    """A function with the arguments of :func:`_bump` for every bump."""
    sigma = jnp.broadcast_to(basis["sigma"], len(basis["centers"]))
    return jax.vmap(function, in_axes=(0, None, 0, None))(sigma, s, basis["centers"], z)


@jax.jit
def _values(basis, s, points):
    return jax.vmap(smoothed, in_axes=(None, None, 0))(basis, s, points)


@jax.jit
def _gradients(basis, s, points):
    # Backwards for each function, where d derivatives forwards would take d times as long.
    by_factor = jax.vmap(jax.grad(_power, argnums=2), in_axes=(0, None, 0))

    def one(z):
        power, place = _factors(basis["monomials"], z.size)
        row = jnp.arange(len(power))[:, None]
        powers = jnp.zeros((z.size, len(power))).at[place, row].add(by_factor(power, s, z[place]))
        bumps = _of_bumps(jax.grad(_bump, argnums=3), basis, s, z)
        # One row for each particle and coordinate: no product with them has to copy them.
        return jnp.concatenate([powers, bumps.T], axis=1)

    return jax.vmap(one)(points)


@jax.jit
def _laplacians(basis, s, points):
    # The heat equation: one derivative by s for d second ones by z.
    return jax.vmap(jax.jacfwd(smoothed, argnums=1), in_axes=(None, None, 0))(basis, s, points)


def values(basis: Mapping, cloud: np.ndarray, s: float = 0.0) -> np.ndarray:
    """phi_s at the particles of a cloud (n, d): (n, m), float64."""
    with jax.enable_x64(True):
        return np.asarray(_values(basis, np.float64(s), cloud))


def gradients(basis: Mapping, cloud: np.ndarray, s: float = 0.0) -> np.ndarray:
    """grad phi_s at the particles of a cloud (n, d): (n, d, m), float64."""
    with jax.enable_x64(True):
        return np.asarray(_gradients(basis, np.float64(s), cloud))


def laplacians(basis: Mapping, cloud: np.ndarray, s: float = 0.0) -> np.ndarray:
    """laplacian phi_s at the particles of a cloud (n, d): (n, m), float64."""
    with jax.enable_x64(True):
        return np.asarray(_laplacians(basis, np.float64(s), cloud))
