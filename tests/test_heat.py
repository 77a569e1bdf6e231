"""Smoothed test functions and their derivatives, by second routes."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jko import heat
from jko.features import features, monomials


def basis():
    points = np.array([[0.0, 0.5], [-1.0, 0.2], [0.8, -0.9]])
    return {"monomials": monomials(2, 2, 30), "centers": points, "sigma": np.array([0.5, 1.0, 1.0])}


def test_without_smoothing_the_test_functions_are_the_features():
    cloud = np.random.default_rng(0).normal(size=(5, 2))
    with jax.enable_x64(True):
        expected = jax.vmap(features, in_axes=(None, 0))(basis(), cloud)
        hessian = jax.vmap(lambda z: jax.hessian(features, argnums=1)(basis(), z))(cloud)
        slope = jax.vmap(lambda z: jax.jacrev(features, argnums=1)(basis(), z))(cloud)
        trace = np.asarray(jnp.trace(hessian, axis1=2, axis2=3))
    np.testing.assert_allclose(heat.values(basis(), cloud), expected, atol=1e-12)
    np.testing.assert_allclose(heat.gradients(basis(), cloud), slope.transpose(0, 2, 1), atol=1e-12)
    np.testing.assert_allclose(heat.laplacians(basis(), cloud), trace, atol=1e-12)


@pytest.mark.parametrize(("degree", "most"), [(1, 20), (4, 20), (4, 100)])
@pytest.mark.parametrize("s", [0.0, 0.2])
def test_slopes_are_the_derivatives_of_the_smoothed_functions(degree, most, s):
    """Of powers of one coordinate beside products, at a point with a coordinate 0."""
    rng = np.random.default_rng(2)
    mixed = {"monomials": monomials(3, degree, most), "centers": rng.normal(size=(2, 3))}
    mixed["sigma"] = np.array([1.5, 4.0])
    cloud = rng.normal(size=(4, 3)) * [1, 1, 0]
    with jax.enable_x64(True):
        slopes = jax.vmap(jax.jacrev(heat.smoothed, argnums=2), in_axes=(None, None, 0))
        expected = np.asarray(slopes(mixed, np.float64(s), cloud))
    found = heat.gradients(mixed, cloud, s)
    np.testing.assert_allclose(found, expected.transpose(0, 2, 1), atol=1e-12)


def test_smoothing_is_the_mean_over_normal_noise():
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    weights = weights / weights.sum()
    noise = np.stack(np.meshgrid(nodes, nodes), axis=-1).reshape(-1, 2)
    z, s, quartic = np.array([0.3, -0.8]), 0.15, basis() | {"monomials": monomials(2, 4, 30)}
    expected = np.outer(weights, weights).ravel() @ heat.values(quartic, z + np.sqrt(2 * s) * noise)
    np.testing.assert_allclose(heat.values(quartic, z[None], s)[0], expected, rtol=1e-9)
    # And sharpening undoes it, for the polynomials of which smoothing makes polynomials again.
    there = np.outer(weights, weights).ravel() @ heat.values(
        quartic, z + np.sqrt(2 * s) * noise, -s
    )
    np.testing.assert_allclose(there[:14], heat.values(quartic, z[None])[0, :14], rtol=1e-9)
