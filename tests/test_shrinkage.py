"""The share of its diagonal that the covariance of test functions gets, by the formula entry by entry."""

from __future__ import annotations

import numpy as np
import pytest

from jko import heat, shrinkage
from jko.features import monomials

TESTS = {
    "monomials": monomials(2, 2, 10),
    "centers": np.array([[0.0, 0.5], [-1.0, 0.2]]),
    "sigma": np.array([0.5, 1.0]),
}


def share(cloud):
    """lambda by sums over all entries of the correlation matrix."""
    phi = heat.values(TESTS, cloud)
    z = (phi - phi.mean(axis=0)) / phi.std(axis=0)
    each = z[:, :, None] * z[:, None, :]
    correlation = each.mean(axis=0)
    spread = np.sum(each.var(axis=0)) / len(z)
    return spread / np.sum((correlation - np.eye(len(correlation))) ** 2)


def test_the_share_is_that_of_ledoit_and_wolf():
    rng = np.random.default_rng(0)
    clouds = [rng.normal(size=(n, 2)) for n in (200, 300)]
    expected = np.mean([share(cloud) / (1 - share(cloud)) for cloud in clouds])
    assert shrinkage.nugget(TESTS, clouds) == pytest.approx(expected, rel=1e-8)


def test_it_falls_with_the_number_of_particles_and_few_far_ones_raise_it():
    rng = np.random.default_rng(1)
    few, many = rng.uniform(-1, 1, (200, 2)), rng.uniform(-1, 1, (4000, 2))
    assert shrinkage.nugget(TESTS, [many]) < shrinkage.nugget(TESTS, [few]) / 10
    far = few.copy()
    far[:3] *= 6
    assert shrinkage.nugget(TESTS, [far]) > 2 * shrinkage.nugget(TESTS, [few])
