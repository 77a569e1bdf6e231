"""The weak form's residuals, their noise and their slopes, by second routes."""

from __future__ import annotations

import numpy as np
import pytest


from jko import heat, pulls, slopes, weak
from jko.features import monomials

TAU = np.array([0.7, 1.3])


def basis(width=(0.5, 1.0, 1.0)):
    points = np.array([[0.0, 0.5], [-1.0, 0.2], [0.8, -0.9]])
    return {"monomials": monomials(2, 2, 30), "centers": points, "sigma": np.float64(width)}


def clouds(n=60, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(n + 5 * k, 2)) for k in range(3)]


def mix_of(size):
    """Of functions that are sums of others, as orthonormal monomials are."""
    return np.triu(np.random.default_rng(9).normal(size=(size, size))) / 2 + np.eye(size)


def population(snapshots, entropy=True, forward=1.0):
    fields = [heat.slopes(basis(0.5), cloud) for cloud in snapshots]
    fields = [field._replace(mix=mix_of(field.size)) for field in fields]
    return weak.Population(snapshots, TAU, fields, entropy, forward=forward)


def residuals(people, tests, coefficients):
    """mean phi(x + (1 - forward) tau G x) - mean phi_s(x - forward tau G x), interval by interval: (K-1, m)."""
    found = []
    for k, tau in enumerate(people.tau):
        fields = [slopes.gradients(field) for field in people.fields[k : k + 2]]
        step = [field @ coefficients[: field.shape[2]] for field in fields]
        start = people.clouds[k] - people.forward * tau * step[0]
        end = people.clouds[k + 1] + (1 - people.forward) * tau * step[1]
        s = tau * coefficients[-1] if people.entropy else 0.0
        found.append(
            heat.values(tests, end).mean(axis=0) - heat.values(tests, start, s).mean(axis=0)
        )
    return np.stack(found)


def at_rest():
    return np.zeros(len(monomials(2, 2, 30)) + 3 + 1)


# Euler steps, and half of the drift from either side.
halves = pytest.mark.parametrize("forward", [1.0, 0.5])


@pytest.fixture(params=["whole", "parts"])
def blocks(request, monkeypatch):
    """Slopes of all particles at once, and of a few at a time."""
    if request.param == "parts":
        monkeypatch.setattr(weak, "_BLOCK", 70)


@halves
def test_the_noise_of_a_moved_population_is_that_of_its_residuals(forward):
    """Over many draws, for a shift of one width and noise, where the particles at rest would not do."""
    rng = np.random.default_rng(5)
    small, s = {"monomials": monomials(2, 1, 30), "centers": np.zeros((1, 2)), "sigma": 2.0}, 0.1
    field = np.broadcast_to([[[-1.0], [0.0]]], (200, 2, 1))
    coefficients = np.array([1.0, s])

    def draw():
        snapshots = [
            rng.normal(size=(200, 2)) * np.sqrt(1 + 2 * s * k) + [k, 0.0] for k in range(3)
        ]
        return weak.Population(
            snapshots, np.ones(2), [slopes.of_all(field)] * 3, True, forward=forward
        )

    drawn = np.stack([residuals(draw(), small, coefficients).ravel() for _ in range(2000)])
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
    means = [np.cov(heat.values(basis(), c).T) / len(c) for c in snapshots]
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


@halves
@pytest.mark.usefixtures("blocks")
def test_normal_equations_are_those_of_a_jacobian_by_differences(forward):
    people = population(clouds(), forward=forward)
    white = weak.noise(people, basis(), at_rest())
    rng = np.random.default_rng(3)
    here = 0.05 * rng.normal(size=slopes.count(people.fields[0]) + 1)

    def residual(coefficients):
        return residuals(people, basis(), coefficients).ravel()

    here[-1] = 0.04
    steps = 1e-6 * np.eye(len(here))
    jacobian = -np.stack([(residual(here + e) - residual(here - e)) / 2e-6 for e in steps], axis=1)
    found = weak.normal_equations(people, basis(), white, here, np.zeros(len(here)))
    gram = jacobian.T @ white.inverse @ jacobian
    np.testing.assert_allclose(found.gram, gram, rtol=1e-5, atol=1e-6 * np.abs(gram).max())
    r = residual(here)
    np.testing.assert_allclose(found.residual, r @ white.inverse @ r, rtol=1e-8)


@halves
@pytest.mark.usefixtures("blocks")
def test_what_samples_see_of_themselves_is_the_sum_over_particles(forward):
    """What every particle puts into X and into r, moved and smoothed, and what is left of X^T S^-1 r."""
    snapshots = clouds(n=40)
    people = population(snapshots, forward=forward)
    m, p = len(basis()["monomials"]) + 3, slopes.count(people.fields[0])
    here = 0.05 * np.random.default_rng(3).normal(size=p + 1)
    here[p] = 0.04
    white = weak.noise(people, basis(), here)
    own, x = np.zeros(p + 1), np.zeros((2 * m, p + 1))
    for j, cloud in enumerate(snapshots):
        n, field = len(cloud), slopes.gradients(people.fields[j])
        # Of each particle, in both residuals that it is in.
        into_x, into_r = np.zeros((n, 2 * m, p + 1)), np.zeros((n, 2 * m))
        if j < 2:
            rows, s = slice(j * m, (j + 1) * m), TAU[j] * here[p]
            place = cloud - forward * TAU[j] * field @ here[:p]
            descent = -np.einsum("idm,idp->imp", heat.gradients(basis(), place, s), field)
            into_x[:, rows, :p] = forward * TAU[j] * descent
            into_x[:, rows, p] = TAU[j] * heat.laplacians(basis(), place, s)
            into_r[:, rows] = -heat.values(basis(), place, s)
        if j > 0:
            rows = slice((j - 1) * m, j * m)
            place = cloud + (1 - forward) * TAU[j - 1] * field @ here[:p]
            descent = -np.einsum("idm,idp->imp", heat.gradients(basis(), place), field)
            into_x[:, rows, :p] = (1 - forward) * TAU[j - 1] * descent
            into_r[:, rows] = heat.values(basis(), place)
        x += into_x.mean(axis=0)
        own += sum(
            a.T @ white.inverse @ v
            for a, v in zip(into_x - into_x.mean(axis=0), into_r - into_r.mean(axis=0), strict=True)
        ) / (n * (n - 1))
    r = residuals(people, basis(), here).ravel()
    found = weak.own_score(people, basis(), white, here, np.zeros(0))
    np.testing.assert_allclose(found, own, rtol=1e-7, atol=1e-7 * np.abs(own).max())
    found = weak.normal_equations(people, basis(), white, here, found)
    moment = x.T @ white.inverse @ r - own + found.gram @ here
    np.testing.assert_allclose(found.moment, moment, rtol=1e-7, atol=1e-7 * np.abs(moment).max())


# z_0 z_1 and z_1^2.
KERNEL = {"ranges": np.array([0.5, 2.0]), "forms": np.array([[0, 1], [1, 1]])}


@pytest.mark.usefixtures("blocks")
def test_a_particle_is_seen_as_itself_and_as_a_partner():
    """With W, X_k is a mean over pairs: what a particle puts into it is n X - (n - 2) X without it."""
    snapshots = clouds(n=12)
    q, m = 5, len(basis()["monomials"]) + 3

    def mean_slopes(cloud, tau):
        fields, slope = pulls.mean_gradients(KERNEL, cloud), heat.gradients(basis(), cloud)
        return -tau * np.einsum("idm,idq->mq", slope, fields) / len(cloud)

    fields = [slopes.of_all(pulls.mean_gradients(KERNEL, cloud)) for cloud in snapshots[:-1]]
    people = weak.Population(snapshots, TAU, fields, False, KERNEL)
    # A covariance of many more particles has an inverse.
    many = clouds(n=300, seed=4)
    white = weak.noise(population(many, False), basis(), at_rest()[:-1])
    own = np.zeros(q)
    for k, tau in enumerate(TAU):
        cloud, n, phi = snapshots[k], len(snapshots[k]), heat.values(basis(), snapshots[k])
        phi = phi - phi.mean(axis=0)
        for i in range(n):
            share = n * mean_slopes(cloud, tau) - (n - 2) * mean_slopes(
                np.delete(cloud, i, axis=0), tau
            )
            effect = np.zeros(2 * m)
            effect[k * m : (k + 1) * m] = -phi[i]
            if k:
                effect[(k - 1) * m : k * m] = phi[i]
            own += share.T @ (white.inverse @ effect)[k * m : (k + 1) * m] / n / (n - 1)
    still = people, basis(), white, np.zeros(q)
    found = weak.own_score(*still, weak.partner_score(*still))
    np.testing.assert_allclose(found, own, rtol=1e-7, atol=1e-7 * np.abs(own).max())


def kernel_gradients(z):
    """grad chi of KERNEL at z (.., 2): (.., 2, q)."""
    square = np.sum(z**2, axis=-1)[..., None]
    bells = [-2 / sigma * np.exp(-square / sigma) * z for sigma in KERNEL["ranges"]]
    x, y = z[..., 0], z[..., 1]
    forms = [np.stack([y, x], axis=-1), np.stack([0 * y, 2 * y], axis=-1)]
    return np.stack([*bells, z, *forms], axis=-1)


@halves
@pytest.mark.usefixtures("blocks")
def test_partners_of_moved_particles_count_for_w_alone(forward):
    """Beside V and an entropy, away from rest: the sum over particles, each as the partner of all others."""
    snapshots, q, m = clouds(n=12), 5, len(basis()["monomials"]) + 3
    fields = [
        slopes.joined(
            heat.slopes(basis(0.5), cloud), slopes.of_all(pulls.mean_gradients(KERNEL, cloud))
        )
        for cloud in snapshots
    ]
    people = weak.Population(snapshots, TAU, fields, True, KERNEL, forward)
    p = slopes.count(fields[0])
    here = 0.05 * np.random.default_rng(3).normal(size=p + 1)
    here[p] = 0.04
    white = weak.noise(population(clouds(n=300, seed=4)), basis(), at_rest())
    expected = np.zeros(q)
    for j, cloud in enumerate(snapshots):
        n, pull = len(cloud), slopes.gradients(fields[j]) @ here[:p]
        legs = [(j, -1, forward * TAU[j], TAU[j] * here[p])] if j < 2 else []
        legs += [(j - 1, 1, (forward - 1) * TAU[j - 1], 0.0)] if j > 0 else []
        into_r, apart = np.zeros((n, 2 * m)), cloud[:, None] - cloud[None]
        for k, sign, step, s in legs:
            phi = heat.values(basis(), cloud - step * pull, s)
            into_r[:, k * m : (k + 1) * m] = sign * (phi - phi.mean(axis=0))
        for k, sign, step, s in legs:
            slope = heat.gradients(basis(), cloud - step * pull, s)
            as_partner = np.einsum("idm,ijdq->jmq", slope, kernel_gradients(apart)) / (n - 1)
            seen = (into_r @ white.inverse)[:, k * m : (k + 1) * m]
            expected += sign * step * np.einsum("jm,jmq->q", seen, as_partner) / n / (n - 1)
    found = weak.partner_score(people, basis(), white, here)
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-7 * np.abs(expected).max())
    added = weak.own_score(people, basis(), white, here, found)
    added -= weak.own_score(people, basis(), white, here, np.zeros(q))
    np.testing.assert_allclose(added[p - q : p], expected, rtol=1e-7, atol=1e-9)
    assert not added[: p - q].any() and added[p] == 0
    with pytest.raises(ValueError, match="broadcast"):
        weak.own_score(people, basis(), white, here, np.zeros(0))
