"""Smoothed test functions and their derivatives, by second routes."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jko import heat
from jko.features import features, monomials, polynomials, smoothed_features


def basis(degree=2, most=30):
    points = np.array([[0.0, 0.5], [-1.0, 0.2], [0.8, -0.9]])
    widths = np.array([0.7, 1.0, 1.0])
    return {"monomials": monomials(2, degree, most), "centers": points, "sigma": widths}


@jax.jit
def derivatives(basis, cloud):
    """phi, its gradients and laplacians as of :mod:`jko.heat`, by automatic derivatives of the features."""
    value = jax.vmap(features, in_axes=(None, 0))(basis, cloud)
    slope = jax.vmap(lambda z: jax.jacrev(features, argnums=1)(basis, z))(cloud)
    hessian = jax.vmap(lambda z: jax.hessian(features, argnums=1)(basis, z))(cloud)
    return value, slope.transpose(0, 2, 1), jnp.trace(hessian, axis1=2, axis2=3)


def automatic(basis, cloud):
    with jax.enable_x64(True):
        return [np.asarray(part) for part in derivatives(basis, cloud)]


FUNCTIONS = [heat.values, heat.gradients, heat.laplacians]


@pytest.mark.parametrize(("degree", "most"), [(1, 20), (4, 20), (4, 100)])
def test_without_smoothing_the_test_functions_are_the_features(degree, most):
    """Of powers of one coordinate beside products, at a point with a coordinate 0."""
    rng = np.random.default_rng(2)
    mixed = {"monomials": monomials(3, degree, most), "centers": rng.normal(size=(2, 3))}
    mixed["sigma"] = np.array([1.5, 4.0])
    cloud = rng.normal(size=(4, 3)) * [1, 1, 0]
    for function, expected in zip(FUNCTIONS, automatic(mixed, cloud), strict=True):
        np.testing.assert_allclose(function(mixed, cloud), expected, atol=1e-12)


@pytest.mark.parametrize("most", [30, 10])
def test_smoothing_is_the_mean_over_normal_noise(most):
    """Of all monomials of degree 4, and of powers of one coordinate beside products of lower degree."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    weights = np.outer(weights, weights).ravel() / weights.sum() ** 2
    noise = np.stack(np.meshgrid(nodes, nodes), axis=-1).reshape(-1, 2)
    z, s, quartic = np.array([0.3, -0.8]), 0.15, basis(degree=4, most=most)
    noisy = automatic(quartic, z + np.sqrt(2 * s) * noise)
    for function, points in zip(FUNCTIONS, noisy, strict=True):
        expected = np.tensordot(weights, points, axes=1)
        np.testing.assert_allclose(function(quartic, z[None], s)[0], expected, rtol=1e-9)
    # And sharpening undoes it, for the polynomials of which smoothing makes polynomials again.
    there = weights @ heat.values(quartic, z + np.sqrt(2 * s) * noise, -s)
    p = len(quartic["monomials"])
    assert p == {30: 14, 10: 9}[most]
    np.testing.assert_allclose(there[:p], heat.values(quartic, z[None])[0, :p], rtol=1e-9)


@pytest.mark.parametrize("s", [0.0, 0.15])
def test_heat_polynomials_are_means_over_normal_noise(s):
    x = np.linspace(-2, 2, 5)
    nodes, weights = np.polynomial.hermite_e.hermegauss(8)
    found = polynomials(x, s, 4)
    for a in range(5):
        wanted = (x[:, None] + np.sqrt(2 * s) * nodes) ** a @ weights / weights.sum()
        np.testing.assert_allclose(found[a], wanted, atol=1e-12)


@pytest.mark.parametrize("s", [0.0, 0.15])
@pytest.mark.parametrize(("d", "most"), [(2, 100), (3, 12)])
def test_one_point_has_the_values_of_a_cloud(d, most, s):
    rng = np.random.default_rng(2)
    tests = {
        "monomials": monomials(d, 4, most),
        "centers": rng.normal(size=(5, d)),
        "sigma": np.linspace(0.5, 2, 5),
    }
    cloud = rng.normal(size=(7, d))
    with jax.enable_x64(True):
        found = jax.vmap(smoothed_features, in_axes=(None, 0, None))(tests, jnp.asarray(cloud), s)
    np.testing.assert_allclose(found, heat.values(tests, cloud, s), rtol=1e-12)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_particles_far_away_have_no_finite_values_and_no_warnings(function):
    far = np.full((1, 2), 1e200)
    assert not np.isfinite(function(basis(degree=4), far)).all()
    assert np.isfinite(function(basis(degree=4), far / 1e199)).all()


def test_waves_are_damped_as_the_mean_over_normal_noise_says():
    """Along one coordinate and aslant, with slopes and laplacians by differences; sharpening undoes the damping."""
    tests = basis() | {"waves": np.array([[2.0, 0.0], [-1.0, 3.0]])}
    m, s, step = heat.count(tests), 0.15, 1e-5
    assert m == len(tests["monomials"]) + 3 + 4
    cloud = np.array([[0.3, -0.8], [1.1, 0.4]])
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    weights = np.outer(weights, weights).ravel() / weights.sum() ** 2
    noise = np.stack(np.meshgrid(nodes, nodes), axis=-1).reshape(-1, 2)
    for place, found in zip(cloud, heat.values(tests, cloud, s), strict=True):
        noisy = place + np.sqrt(2 * s) * noise
        phase = noisy @ tests["waves"].T
        expected = weights @ np.hstack([np.cos(phase), np.sin(phase)])
        np.testing.assert_allclose(found[-4:], expected, atol=1e-12)
        np.testing.assert_allclose(
            weights @ heat.values(tests, noisy, -s)[:, -4:],
            heat.values(tests, place[None])[0, -4:],
            rtol=1e-9,
        )
    slopes, laplacians = heat.gradients(tests, cloud, s), heat.laplacians(tests, cloud, s)
    assert slopes.shape == (2, 2, m) and laplacians.shape == (2, m)
    curvature = 0
    for i, way in enumerate(step * np.eye(2)):
        there, back = (heat.values(tests, cloud + sign * way, s) for sign in (1, -1))
        np.testing.assert_allclose(slopes[:, i], (there - back) / (2 * step), atol=1e-8)
        there, back = (heat.gradients(tests, cloud + sign * way, s)[:, i] for sign in (1, -1))
        curvature = curvature + (there - back) / (2 * step)
    np.testing.assert_allclose(laplacians, curvature, atol=1e-8)


def test_sharpening_ends_where_the_narrowest_bump_or_the_finest_wave_says():
    narrow, fine = basis(), {"waves": np.array([[2.0, 0.0], [-1.0, 7.0]])}
    assert heat.lowest(narrow) == pytest.approx(-0.7 / 16)
    assert heat.lowest(narrow | fine) == pytest.approx(-1 / 50)
    assert heat.lowest(narrow | {"waves": np.ones((1, 2))}) == pytest.approx(-0.7 / 16)
