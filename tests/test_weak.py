"""The weak form's residuals, their noise and their slopes, by second routes."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax.tree_util import Partial

from jko import weak
from jko.features import features, monomials
from jko.methods import weak_form

TAU = np.array([0.7, 1.3])


def basis(width=(0.5, 1.0, 1.0)):
    points = np.array([[0.0, 0.5], [-1.0, 0.2], [0.8, -0.9]])
    return {"monomials": monomials(2, 2, 30), "centers": points, "sigma": np.float64(width)}


def clouds(n=60, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(n + 5 * k, 2)) for k in range(3)]


def population(snapshots, entropy=True):
    fields = [weak.gradients(basis(0.5), cloud) for cloud in snapshots[:-1]]
    return weak.Population(snapshots, TAU, fields, entropy)


def at_rest():
    return np.zeros(len(monomials(2, 2, 30)) + 3 + 1)


@pytest.fixture(params=["whole", "parts"])
def blocks(request, monkeypatch):
    """Slopes of all particles at once, and of a few at a time."""
    if request.param == "parts":
        monkeypatch.setattr(weak, "_BLOCK", 70)


def test_without_smoothing_the_test_functions_are_the_features():
    cloud = clouds()[0][:5]
    with jax.enable_x64(True):
        expected = jax.vmap(features, in_axes=(None, 0))(basis(), cloud)
        hessian = jax.vmap(lambda z: jax.hessian(features, argnums=1)(basis(), z))(cloud)
        slope = jax.vmap(lambda z: jax.jacrev(features, argnums=1)(basis(), z))(cloud)
        trace = np.asarray(jnp.trace(hessian, axis1=2, axis2=3))
    np.testing.assert_allclose(weak.values(basis(), cloud), expected, atol=1e-12)
    np.testing.assert_allclose(weak.gradients(basis(), cloud), slope.transpose(0, 2, 1), atol=1e-12)
    np.testing.assert_allclose(weak.laplacians(basis(), cloud), trace, atol=1e-12)


@pytest.mark.parametrize(("degree", "most"), [(1, 20), (4, 20), (4, 100)])
@pytest.mark.parametrize("s", [0.0, 0.2])
def test_slopes_are_the_derivatives_of_the_smoothed_functions(degree, most, s):
    """Of powers of one coordinate beside products, at a point with a coordinate 0."""
    rng = np.random.default_rng(2)
    mixed = {"monomials": monomials(3, degree, most), "centers": rng.normal(size=(2, 3))}
    mixed["sigma"] = np.array([1.5, 4.0])
    cloud = rng.normal(size=(4, 3)) * [1, 1, 0]
    with jax.enable_x64(True):
        slopes = jax.vmap(jax.jacrev(weak.smoothed, argnums=2), in_axes=(None, None, 0))
        expected = np.asarray(slopes(mixed, np.float64(s), cloud))
    found = weak.gradients(mixed, cloud, s)
    np.testing.assert_allclose(found, expected.transpose(0, 2, 1), atol=1e-12)


def test_smoothing_is_the_mean_over_normal_noise():
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    weights = weights / weights.sum()
    noise = np.stack(np.meshgrid(nodes, nodes), axis=-1).reshape(-1, 2)
    z, s, quartic = np.array([0.3, -0.8]), 0.15, basis() | {"monomials": monomials(2, 4, 30)}
    expected = np.outer(weights, weights).ravel() @ weak.values(quartic, z + np.sqrt(2 * s) * noise)
    np.testing.assert_allclose(weak.values(quartic, z[None], s)[0], expected, rtol=1e-9)
    # And sharpening undoes it, for the polynomials of which smoothing makes polynomials again.
    there = np.outer(weights, weights).ravel() @ weak.values(
        quartic, z + np.sqrt(2 * s) * noise, -s
    )
    np.testing.assert_allclose(there[:14], weak.values(quartic, z[None])[0, :14], rtol=1e-9)


def test_the_noise_of_a_moved_population_is_that_of_its_residuals():
    """Over many draws, for a shift of one width and noise, where the particles at rest would not do."""
    rng = np.random.default_rng(5)
    small, s = {"monomials": monomials(2, 1, 30), "centers": np.zeros((1, 2)), "sigma": 2.0}, 0.1
    field = np.broadcast_to([[[-1.0], [0.0]]], (200, 2, 1))
    coefficients = np.array([1.0, s])

    def draw():
        snapshots = [
            rng.normal(size=(200, 2)) * np.sqrt(1 + 2 * s * k) + [k, 0.0] for k in range(3)
        ]
        return weak.Population(snapshots, np.ones(2), [field, field], True)

    def residual(people):
        return np.concatenate(
            [
                weak.values(small, people.clouds[k + 1]).mean(axis=0)
                - weak.values(small, weak.moved(people, k, coefficients), s).mean(axis=0)
                for k in range(2)
            ]
        )

    drawn = np.stack([residual(draw()) for _ in range(2000)])
    observed = np.cov(drawn.T)
    assert np.abs(drawn.mean(axis=0) / np.sqrt(np.diag(observed))).max() < 5 / np.sqrt(2000)
    people = draw()
    found = np.linalg.inv(weak.noise(people, small, coefficients).inverse)
    still = np.linalg.inv(weak.noise(people, small, np.zeros(2)).inverse)
    units = np.sqrt(np.outer(np.diag(observed), np.diag(observed)))
    np.testing.assert_allclose(found / units, observed / units, atol=0.25)
    assert np.abs((still - observed) / units).max() > 0.3


def test_the_noise_is_that_of_differences_of_means():
    """Cov of (mean_1 - mean_0, mean_2 - mean_1), by the covariance of each mean, with the factor for its inverse."""
    snapshots = clouds(n=400)
    found = weak.noise(population(snapshots), basis(), at_rest())
    m = len(found.scale) // 2
    means = [np.cov(weak.values(basis(), c).T) / len(c) for c in snapshots]
    factor = [(len(c) - 1) / (len(c) - m - 2) for c in snapshots]
    first, second, third = (c * f for c, f in zip(means, factor, strict=True))
    expected = np.block([[first + second, -second], [-second, second + third]])
    expected[np.diag_indices(2 * m)] *= 1 + 1e-6
    np.testing.assert_allclose(found.inverse @ expected, np.eye(2 * m), atol=1e-6)


def test_what_is_left_of_residuals_that_are_noise_is_the_trace():
    """E[r^T S^{-1} r] = tr(S^{-1} Cov(r)), with Cov(r) without what is added to S."""
    tests = basis() | {"centers": np.repeat(basis()["centers"], 2, axis=0), "sigma": np.ones(6)}
    white = weak.noise(population(clouds()), tests, at_rest())
    added = 1e-6 * np.eye(len(white.scale))
    covariance = white.factor @ white.factor.T - added
    covariance *= white.scale[:, None] * white.scale[None, :]
    found, there = weak.expected_square(white), np.trace(white.inverse @ covariance)
    # Every bump stands twice: three of the eleven functions of both intervals tell nothing.
    assert found == pytest.approx(there, rel=1e-6) and found == pytest.approx(16, abs=0.1)


@pytest.mark.usefixtures("blocks")
def test_normal_equations_are_those_of_a_jacobian_by_differences():
    snapshots = clouds()
    people = population(snapshots)
    white = weak.noise(people, basis(), at_rest())
    rng = np.random.default_rng(3)
    here = 0.05 * rng.normal(size=people.fields[0].shape[2] + 1)

    def residual(coefficients):
        parts = []
        for k, tau in enumerate(TAU):
            there = weak.moved(people, k, coefficients)
            predicted = weak.values(basis(), there, tau * coefficients[-1]).mean(axis=0)
            parts.append(weak.values(basis(), snapshots[k + 1]).mean(axis=0) - predicted)
        return np.concatenate(parts)

    here[-1] = 0.04
    steps = 1e-6 * np.eye(len(here))
    jacobian = -np.stack([(residual(here + e) - residual(here - e)) / 2e-6 for e in steps], axis=1)
    found = weak.normal_equations(people, basis(), white, here, np.zeros(len(here)))
    gram = jacobian.T @ white.inverse @ jacobian
    np.testing.assert_allclose(found.gram, gram, rtol=1e-5, atol=1e-6 * np.abs(gram).max())
    r = residual(here)
    np.testing.assert_allclose(found.residual, r @ white.inverse @ r, rtol=1e-8)


@pytest.mark.usefixtures("blocks")
def test_what_samples_see_of_themselves_is_the_sum_over_particles():
    """Particle by particle, and what is left of X^T S^-1 r."""
    snapshots = clouds(n=40)
    people = population(snapshots)
    white = weak.noise(people, basis(), at_rest())
    m, p = len(white.scale) // 2, people.fields[0].shape[2]
    zero = np.zeros(p + 1)
    rows, residual, own = [], [], np.zeros(p + 1)
    for k, tau in enumerate(TAU):
        cloud, n = snapshots[k], len(snapshots[k])
        phi, slope = weak.values(basis(), cloud), weak.gradients(basis(), cloud)
        share = -tau * np.einsum("idm,idp->imp", slope, people.fields[k])
        share = np.concatenate([share, tau * weak.laplacians(basis(), cloud)[:, :, None]], axis=2)
        rows.append(share.mean(axis=0))
        residual.append(weak.values(basis(), snapshots[k + 1]).mean(axis=0) - phi.mean(axis=0))
        for i in range(n):
            effect = np.zeros(2 * m)
            effect[k * m : (k + 1) * m] = -(phi[i] - phi.mean(axis=0))
            if k:
                effect[(k - 1) * m : k * m] = phi[i] - phi.mean(axis=0)
            seen = (white.inverse @ effect)[k * m : (k + 1) * m]
            own += (share[i] - share.mean(axis=0)).T @ seen / n / (n - 1)
    moment = np.concatenate(rows).T @ white.inverse @ np.concatenate(residual) - own
    found = weak.own_score(people, basis(), white, zero)
    np.testing.assert_allclose(found, own, rtol=1e-7, atol=1e-7 * np.abs(own).max())
    found = weak.normal_equations(people, basis(), white, zero, found)
    np.testing.assert_allclose(found.moment, moment, rtol=1e-7, atol=1e-7 * np.abs(moment).max())


@pytest.mark.usefixtures("blocks")
def test_a_particle_is_seen_as_itself_and_as_a_partner():
    """With W, X_k is a mean over pairs: what a particle puts into it is n X - (n - 2) X without it."""
    snapshots, chi = clouds(n=12), Partial(weak_form.kernels, {"ranges": np.array([0.5, 2.0])})
    q, m = 3, len(basis()["monomials"]) + 3

    def slopes(cloud, tau):
        fields, slope = weak.mean_gradients(chi, cloud), weak.gradients(basis(), cloud)
        return -tau * np.einsum("idm,idq->mq", slope, fields) / len(cloud)

    fields = [weak.mean_gradients(chi, cloud) for cloud in snapshots[:-1]]
    people = weak.Population(snapshots, TAU, fields, False, chi)
    # A covariance of many more particles has an inverse.
    many = clouds(n=300, seed=4)
    white = weak.noise(population(many, False), basis(), at_rest()[:-1])
    white = white._replace(values=[weak.values(basis(), c) for c in snapshots])
    white = white._replace(values=[v - v.mean(axis=0) for v in white.values])
    own = np.zeros(q)
    for k, tau in enumerate(TAU):
        cloud, n, phi = snapshots[k], len(snapshots[k]), white.values[k]
        for i in range(n):
            share = n * slopes(cloud, tau) - (n - 2) * slopes(np.delete(cloud, i, axis=0), tau)
            effect = np.zeros(2 * m)
            effect[k * m : (k + 1) * m] = -phi[i]
            if k:
                effect[(k - 1) * m : k * m] = phi[i]
            own += share.T @ (white.inverse @ effect)[k * m : (k + 1) * m] / n / (n - 1)
    found = weak.own_score(people, basis(), white, np.zeros(q))
    np.testing.assert_allclose(found, own, rtol=1e-7, atol=1e-7 * np.abs(own).max())


def test_mean_gradients_are_those_of_the_others_one_by_one():
    cloud, ranges = clouds()[0][:7], np.array([0.5, 2.0])
    found = weak.mean_gradients(Partial(weak_form.kernels, {"ranges": ranges}), cloud)
    for i, x in enumerate(cloud):
        total = np.zeros((3, 2))
        for j, y in enumerate(cloud):
            if j != i:
                z = x - y
                bell = np.exp(-z @ z / ranges)
                total += np.concatenate([-2 * bell[:, None] / ranges[:, None] * z, z[None]])
        np.testing.assert_allclose(found[i], total.T / 6, atol=1e-12)
