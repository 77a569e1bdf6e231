"""Features by counting, by hand and by brute force; means over a snapshot by a loop over its particles."""

from __future__ import annotations

from itertools import combinations_with_replacement
from math import comb

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jko import features


@pytest.mark.parametrize(("d", "degree"), [(1, 4), (2, 4), (5, 4), (3, 2), (50, 2)])
def test_the_monomials_are_all_of_total_degree_one_to_degree(d, degree):
    found = features.monomials(d, degree, 10_000)
    assert len(found) == comb(d + degree, degree) - 1
    powers = {tuple(np.bincount(row, minlength=d + 1)[:d]) for row in found}
    assert len(powers) == len(found)
    assert {sum(power) for power in powers} == set(range(1, degree + 1))


@pytest.mark.parametrize(
    ("d", "most", "low", "pure"),
    [
        (5, 1500, 4, []),
        (50, 1500, 2, [3, 4]),
        (2, 13, 3, [4]),
        (10, 40, 1, [2, 3, 4]),
        (10, 39, 1, [2, 3]),
        (50, 10, 1, []),
    ],
)
def test_the_total_degree_falls_until_monomials_fit_and_powers_of_one_coordinate_follow(
    d, most, low, pure
):
    found = [tuple(i for i in row if i < d) for row in features.monomials(d, 4, most).tolist()]
    mixed = [row for k in range(1, low + 1) for row in combinations_with_replacement(range(d), k)]
    assert sorted(found) == sorted(mixed + [(i,) * a for a in pure for i in range(d)])


@pytest.mark.parametrize(("d", "degree", "most"), [(2, 4, 100), (5, 3, 30), (50, 4, 1500)])
def test_every_coordinate_is_held_by_the_monomials_that_change_along_it(d, degree, most):
    powers = features.monomials(d, degree, most)
    found = features.holding(powers, d)
    for c in range(d):
        assert found[c].tolist() == [k for k, row in enumerate(powers.tolist()) if c in row]


def test_features_are_powers_and_bumps():
    basis = {
        "monomials": features.monomials(2, 2, 100),
        "centers": np.array([[1.0, 2.0], [0.0, 0.0]], np.float32),
        "sigma": np.float32(3.0),
    }
    found = np.asarray(features.features(basis, jnp.array([2.0, 5.0])))
    np.testing.assert_allclose(sorted(found[:5]), [2, 4, 5, 10, 25])
    np.testing.assert_allclose(found[5:], [np.exp(-10 / 3), np.exp(-29 / 3)], rtol=1e-6)


def kernel_basis(d: int = 2, degree: int = 4, waves: int = 6, width: float = 0.5) -> dict:
    clouds = [np.random.default_rng(k).normal(size=(9, d)) + k for k in range(2)]
    rng = np.random.default_rng(1)
    return features.kernel_basis(clouds, rng, degree=degree, most=1500, waves=waves, width=width)


@pytest.mark.parametrize(
    ("d", "degree", "most"), [(1, 4, 10), (2, 1, 10), (2, 2, 10), (3, 5, 100), (10, 4, 100)]
)
@pytest.mark.parametrize("by", [0, 2])
def test_derivatives_of_a_combination_are_the_automatic_ones_of_its_features(d, degree, most, by):
    rng = np.random.default_rng(d)
    basis = {
        "monomials": features.monomials(d, degree, most),
        "centers": rng.normal(size=(3, d)),
        "sigma": rng.uniform(1, 2, size=3),
    }
    theta, z = rng.normal(size=len(basis["monomials"]) + 3), rng.normal(size=d)
    with jax.enable_x64():
        given = [jax.tree.map(jnp.asarray, leaf) for leaf in (theta, basis, z)]
        found, wanted = (
            [
                f(*given),
                jax.grad(f, by)(*given),
                jax.jacfwd(jax.grad(f, 2), by)(*given),
                jax.jacfwd(jax.hessian(f, 2), by)(*given),
            ]
            for f in (
                features.combination,
                lambda theta, basis, z: theta @ features.features(basis, z),
            )
        )
        for one, other in zip(found, wanted, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("d", "degree", "count"), [(2, 4, 3 + 5), (1, 4, 2), (3, 3, 6), (50, 4, 1275 + 50)]
)
def test_kernels_have_all_monomials_of_even_degree(d, degree, count):
    rows = kernel_basis(d, degree)["monomials"]
    assert len(rows) == count
    assert set(np.sum(rows < d, axis=1)) <= {2, 4}


def test_a_kernel_is_even_and_pulls_no_particle_towards_itself():
    basis, z = kernel_basis(), jnp.array([0.7, -1.3])
    found = features.kernel_features(basis, z)
    np.testing.assert_array_equal(found, features.kernel_features(basis, -z))
    at_itself = jax.jacfwd(features.kernel_features, argnums=1)(basis, jnp.zeros(2))
    np.testing.assert_array_equal(at_itself, 0)


def test_many_waves_span_even_bumps():
    """The mean product of waves at two places is the kernel of the docstring."""
    basis = kernel_basis(waves=200_000)
    # The width is half the mean squared distance of two particles of a snapshot.
    clouds = [np.random.default_rng(k).normal(size=(9, 2)) + k for k in range(2)]
    squared = [
        np.mean([np.sum((x - y) ** 2) for i, x in enumerate(c) for j, y in enumerate(c) if i != j])
        for c in clouds
    ]
    assert basis["sigma"] == pytest.approx(0.5 * np.mean(squared), rel=1e-9)
    for z, other in (([0.3, 0.2], [0.1, -0.4]), ([1.0, 0.5], [-1.2, -0.3])):
        z, other = np.array(z), np.array(other)
        found = np.mean(np.cos(basis["waves"] @ z) * np.cos(basis["waves"] @ other))
        bumps = [np.exp(-np.sum((z - s * other) ** 2) / basis["sigma"]) for s in (1, -1)]
        assert found == pytest.approx(np.mean(bumps), abs=0.008)


@pytest.mark.parametrize(
    ("d", "degree", "waves", "n"), [(2, 4, 6, 300), (3, 3, 0, 5), (1, 1, 4, 7)]
)
def test_the_mean_over_a_snapshot_is_that_of_a_loop_over_its_particles(d, degree, waves, n):
    """With more places than particles, which must not count, and more particles than a block holds."""
    rng = np.random.default_rng(n)
    cloud, x = rng.normal(size=(n + 3, d)), rng.normal(size=d)
    with jax.enable_x64(True):
        basis = kernel_basis(d, degree, waves)
        means = jax.jit(features.cloud_means)(basis, cloud, n)
        mean = jax.jit(features.mean_features)
        found = mean(basis, means, jnp.asarray(x))
        pull = jax.jit(jax.jacfwd(features.mean_features, argnums=2))(basis, means, jnp.asarray(x))
        one = jax.jit(features.kernel_features)
        slope = jax.jit(jax.jacfwd(features.kernel_features, argnums=1))
        values = [np.asarray(one(basis, jnp.asarray(x - y))) for y in cloud[:n]]
        slopes = [np.asarray(slope(basis, jnp.asarray(x - y))) for y in cloud[:n]]
    assert found.shape == (len(basis["monomials"]) + waves,) and found.dtype == np.float64
    np.testing.assert_allclose(found, np.mean(values, axis=0), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(pull, np.mean(slopes, axis=0), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_legendre_polynomials_are_those_of_numpy(count):
    for t in (-1.0, 0.3, 1.7):
        expected = np.polynomial.legendre.legvander([t], count - 1)[0]
        np.testing.assert_allclose(features.legendre(jnp.float32(t), count), expected, rtol=1e-5)
