"""Products that a potential needs: their test by a second route, its law without them, and whether they are found."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jko import heat, products, weak
from jko.features import monomials
from jko.slopes import gradients, of_all

TAU = np.array([0.7, 1.3])
D, DEGREE = 3, 4


def clouds(n=80, seed=0, count=3, d=D):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(n + 7 * k, d)) for k in range(count)]


def moving(snapshots, tau=TAU, forward=1.0):
    """A population that the slopes of x_0 and x_1^2 move, and the coefficients of both."""
    still = [np.zeros((len(cloud), cloud.shape[1], 2)) for cloud in snapshots]
    for field, cloud in zip(still, snapshots, strict=True):
        field[:, 0, 0], field[:, 1, 1] = 1.0, 2 * cloud[:, 1]
    fields = [of_all(field) for field in still]
    return weak.Population(snapshots, tau, fields, False, forward=forward), np.array([0.2, -0.1])


def basis(rows, d=D):
    nothing = {"centers": np.zeros((0, d)), "sigma": np.zeros(0)}
    return {"monomials": products.factors(rows, d, DEGREE), **nothing}


def test_every_product_of_two_coordinates_is_listed_once():
    rows = products.products(D, DEGREE)
    found = {tuple(row) for row in products.factors(rows, D, DEGREE)}
    everything = monomials(D, DEGREE, 1000)
    pairs = [row for row in everything if len(set(row) - {D}) == 2]
    assert len(found) == len(rows) and found == set(map(tuple, pairs))
    assert len(products.products(1, DEGREE)) == len(products.products(D, 1)) == 0


@pytest.mark.parametrize(("beta", "forward"), [(0.0, 1.0), (0.1, 1.0), (0.1, 0.5)])
@pytest.mark.parametrize("block", [2**21, 200])
def test_the_statistic_is_the_gain_of_generalised_least_squares(beta, forward, block, monkeypatch):
    """chi^2 of the residuals less its least one over theta, which enters each of them through x + theta X."""
    monkeypatch.setattr(products, "_BLOCK", block)
    population, coefficients = moving(clouds(), forward=forward)
    rows = products.products(D, DEGREE)
    found = products.statistics(population, coefficients, beta, rows)
    pairs = list(zip(population.clouds, map(gradients, population.fields), strict=True))
    started = [x - forward * TAU[k] * f @ coefficients for k, (x, f) in enumerate(pairs[:2])]
    ended = [x + (1 - forward) * TAU[k] * f @ coefficients for k, (x, f) in enumerate(pairs[1:])]
    for row, value in zip(rows, found, strict=True):
        one = basis(row[None])
        seen = [heat.values(one, cloud)[:, 0] for cloud in ended]
        pushed = [heat.values(one, started[k], TAU[k] * beta)[:, 0] for k in range(2)]
        covariance = np.diag([np.var(pushed[k]) / len(pushed[k]) for k in range(2)])
        covariance += np.diag([np.var(seen[k]) / len(seen[k]) for k in range(2)])
        shared = np.cov(seen[0], pushed[1], bias=True)[0, 1] / len(seen[0])
        covariance[0, 1] = covariance[1, 0] = -shared
        residual = np.array([seen[k].mean() - pushed[k].mean() for k in range(2)])

        def predicted(theta, one=one):
            # The slope of phi at the particle moves it further.
            slope = [heat.gradients(one, cloud)[:, :, 0] for cloud in population.clouds]
            means = []
            for k in range(2):
                start = started[k] - forward * TAU[k] * theta * slope[k]
                end = ended[k] + (1 - forward) * TAU[k] * theta * slope[k + 1]
                start, end = heat.values(one, start, TAU[k] * beta), heat.values(one, end)
                means.append(start.mean() - end.mean())
            return np.array(means)

        x = (predicted(1e-4) - predicted(-1e-4)) / 2e-4
        root = np.linalg.inv(np.linalg.cholesky(covariance))
        _, left, *_ = np.linalg.lstsq((root @ x)[:, None], root @ residual)
        assert value == pytest.approx(np.sum((root @ residual) ** 2) - left[0], rel=1e-5)


def test_without_products_the_statistics_are_chi_square():
    """Snapshots that the coefficients do move, of fresh particles each."""
    found, rows, alarms = [], products.products(4, 3), 0
    for seed in range(60):
        first, second, third = clouds(400, seed, 3, d=4)
        tau = np.array([1.0, 1.0])

        def step(cloud):
            population, coefficients = moving([cloud, cloud], tau[:1])
            return weak.moved(population, weak.legs(population, 0.0)[0][0], coefficients)

        population, coefficients = moving([first, step(second), step(step(third))], tau)
        found.append(products.statistics(population, coefficients, 0.0, rows))
        alarms += len(products.wanted(population, coefficients, 0.0, rows, len(rows), 1.0))
    found = np.concatenate(found)
    # The mean of chi^2 with one degree is 1, and a tenth of it lies above 2.71; there are 60 draws of 18 that hang together.
    assert np.mean(found) == pytest.approx(1, abs=0.15)
    assert np.mean(found > 2.71) == pytest.approx(0.1, abs=0.03)
    # One in sixty of them passes 2 log 18.
    assert alarms < 40


def test_the_products_that_move_particles_are_found_and_hardly_others():
    """V = x_0^2 x_1 / 2 + x_2 x_3 in six dimensions, with 45 products up to degree 3; five draws."""
    d, tau, others = 6, np.full(4, 0.05), 0
    gradient = jax.jit(jax.vmap(jax.grad(lambda x: x[0] ** 2 * x[1] / 2 + x[2] * x[3])))
    rows = products.products(d, 3)
    for seed in range(5):
        rng, snapshots = np.random.default_rng(seed), []
        for k in range(5):
            cloud = rng.normal(size=(3000, d))
            for _ in range(k):
                cloud = cloud - 0.05 * np.asarray(gradient(jnp.asarray(cloud)))
            snapshots.append(cloud)
        still = weak.Population(snapshots, tau, [of_all(np.zeros((3000, d, 1)))] * 4, False)
        found = products.wanted(still, np.zeros(1), 0.0, rows, len(rows), 1.0)
        assert {tuple(row) for row in found[:2]} == {(0, 1, 2, 1), (2, 3, 1, 1)}
        fields = [np.asarray(gradient(jnp.asarray(cloud)))[:, :, None] for cloud in snapshots[:-1]]
        known = still._replace(fields=[of_all(field) for field in fields])
        others += len(products.wanted(known, np.ones(1), 0.0, rows, len(rows), 1.0))
        # None is sure beside a large misfit.
        assert len(products.wanted(still, np.zeros(1), 0.0, rows, len(rows), 1e4)) == 0
    # Where V has both, a quarter of one is expected in a draw.
    assert others <= 4


def test_the_threshold_does_not_fall_with_those_that_are_left():
    population, coefficients = moving(clouds())
    rows = products.products(D, DEGREE)
    each = products.statistics(population, coefficients, 0.0, rows)
    last = rows[np.argsort(each)[:1]]
    assert len(products.wanted(population, coefficients, 0.0, last, len(rows), 1.0)) == 0
    assert len(products.wanted(population, coefficients, 0.0, rows[:0], len(rows), 1.0)) == 0


def test_nothing_is_known_of_what_no_particle_sees():
    """Of x_0 x_1 where all particles have x_0 = 0, and of x_1 x_2 as before."""
    snapshots = clouds()
    for cloud in snapshots:
        cloud[:, 0] = 0.0
    population, _ = moving(snapshots)
    rows = np.array([[0, 1, 2, 1], [1, 2, 1, 1]], np.int32)
    found = products.statistics(population, np.zeros(2), 0.0, rows)
    assert found[0] == 0 and found[1] > 0
