"""Errors between clouds against scipy, translations and closed forms; between energies by hand."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
import scipy.stats

from jko import metrics
from jko.energies import Energy, static, zero_energy
from jax.tree_util import Partial

rng = np.random.default_rng(0)
CLOUD = rng.normal(size=(60, 3)) @ np.array([[2.0, 0, 0], [0.3, 1.0, 0], [0, -0.5, 0.2]])
SHIFT = np.array([0.3, -1.2, 0.4])


@pytest.mark.parametrize(("n", "m"), [(50, 50), (50, 37), (1, 9)])
def test_w1_in_one_dimension_is_that_of_scipy(n, m):
    x, y = rng.normal(size=n), rng.exponential(size=m)
    expected = scipy.stats.wasserstein_distance(x, y)
    np.testing.assert_allclose(metrics.w1(x[:, None], y[:, None]), expected, rtol=1e-9)


def test_w2_in_one_dimension_couples_the_sorted_points():
    x, y = rng.normal(size=40), rng.exponential(size=40)
    expected = np.mean((np.sort(x) - np.sort(y)) ** 2)
    np.testing.assert_allclose(metrics.w2_squared(x[:, None], y[:, None]), expected, rtol=1e-9)
    np.testing.assert_allclose(metrics.w2(x[:, None], y[:, None]), np.sqrt(expected), rtol=1e-9)


def test_a_translation_costs_its_length():
    moved = (CLOUD + SHIFT)[rng.permutation(len(CLOUD))]
    length = np.linalg.norm(SHIFT)
    np.testing.assert_allclose(metrics.w1(CLOUD, moved), length, rtol=1e-9)
    np.testing.assert_allclose(metrics.w2(CLOUD, moved), length, rtol=1e-9)
    np.testing.assert_allclose(metrics.w2_squared(CLOUD, moved), length**2, rtol=1e-9)
    np.testing.assert_allclose(metrics.bures_w2_squared(CLOUD, moved), length**2, rtol=1e-9)


def test_a_cloud_is_at_distance_zero_from_itself_and_the_order_of_two_does_not_count():
    other = rng.normal(size=(45, 3))
    for distance in (metrics.w1, metrics.w2, metrics.w2_squared, metrics.bures_w2_squared):
        assert distance(CLOUD, CLOUD) == pytest.approx(0, abs=1e-7)
        assert distance(CLOUD, other) == pytest.approx(distance(other, CLOUD), rel=1e-9)


def test_unequal_sizes_count_every_particle():
    """Each point of a cloud twice is the same population; nothing is cut off."""
    other = rng.normal(size=(60, 3)) + 1
    for distance in (metrics.w1, metrics.w2_squared):
        twice = np.concatenate([CLOUD, CLOUD])
        assert distance(twice, other) == pytest.approx(distance(CLOUD, other), rel=1e-9)
        far = np.concatenate([CLOUD, [[1e3, 0, 0]]])
        assert distance(far, other) > 2 * distance(CLOUD, other)


def with_covariance(covariance: np.ndarray) -> np.ndarray:
    """A cloud with exactly this covariance and mean zero."""
    x = rng.normal(size=(200, len(covariance)))
    x -= x.mean(axis=0)
    whiten = np.linalg.inv(np.linalg.cholesky(np.cov(x, rowvar=False)))
    return x @ whiten.T @ np.linalg.cholesky(covariance).T


def test_bures_of_commuting_covariances_is_the_distance_of_their_roots():
    turn = scipy.stats.ortho_group(3, seed=1).rvs()
    a, b = np.array([4.0, 1.0, 0.25]), np.array([1.0, 2.0, 0.01])
    x, y = with_covariance(turn @ np.diag(a) @ turn.T), with_covariance(turn @ np.diag(b) @ turn.T)
    expected = np.sum((np.sqrt(a) - np.sqrt(b)) ** 2)
    np.testing.assert_allclose(metrics.bures_w2_squared(x, y), expected, rtol=1e-8)
    np.testing.assert_allclose(
        metrics.bures_w2_squared(x, y + SHIFT), expected + SHIFT @ SHIFT, rtol=1e-8
    )


def test_bures_of_covariances_that_do_not_commute_is_the_textbook_formula():
    x, y = CLOUD, rng.normal(size=(80, 3)) @ rng.normal(size=(3, 3)) + SHIFT
    a, b = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = scipy.linalg.sqrtm(a)
    trace = np.trace(a + b - 2 * scipy.linalg.sqrtm(root @ b @ root))
    expected = np.sum((x.mean(axis=0) - y.mean(axis=0)) ** 2) + trace.real
    np.testing.assert_allclose(metrics.bures_w2_squared(x, y), expected, rtol=1e-8)


def test_bures_is_a_lower_bound_of_w2_squared():
    """Gelbrich: of all laws with these means and covariances the Gaussians are nearest."""
    n = 60
    other = rng.exponential(size=(n, 3))
    # The divisor n - 1 of the covariances widens both clouds by this factor about their means.
    widen = np.sqrt((n - 1) / n)
    x, y = (c.mean(axis=0) + widen * (c - c.mean(axis=0)) for c in (CLOUD, other))
    assert metrics.bures_w2_squared(x, y) * widen**2 <= metrics.w2_squared(CLOUD, other) * (
        1 + 1e-9
    )


def test_bw2_uvp_by_hand_is_twice_the_squared_shift_over_the_variance():
    reference = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 4.0], [2.0, 4.0]])  # variances 4/3 and 16/3
    moved = reference + np.array([0.3, 0.4])
    np.testing.assert_allclose(metrics.bw2_uvp(moved, reference), 100 * 0.25 / (20 / 3 / 2))
    assert metrics.bw2_uvp(reference, reference) == pytest.approx(0, abs=1e-10)
    assert np.isnan(metrics.bw2_uvp(moved, np.ones((4, 2))))
    line = reference[:, :1]
    np.testing.assert_allclose(metrics.bw2_uvp(line + 1, line), 100 / (4 / 3 / 2))


def test_l2_uvp_by_hand():
    """grad V_hat - grad V = 2 (y - 1) - 2 y = -2 in every coordinate: its square is 4 d."""
    learned = Energy(static(lambda x: jnp.sum((x - 1) ** 2)))
    truth = Energy(static(lambda x: jnp.sum(x**2)))
    cloud, next_cloud, tau = CLOUD, CLOUD[:20] + 5, 0.3
    variance = np.trace(np.cov(cloud, rowvar=False))
    found = metrics.l2_uvps(learned, truth, cloud, next_cloud, 0.0, tau)["l2_uvp"]
    np.testing.assert_allclose(found, 100 * tau**2 * 12 / variance, rtol=1e-5)
    assert metrics.l2_uvps(truth, truth, cloud, next_cloud, 0.0, tau)["l2_uvp"] == 0


def test_the_edge_is_the_tenth_that_is_farthest_in_units_of_the_spread():
    """A wide and a narrow coordinate: what is far along the narrow one is outermost, though nearer to the middle."""
    rng = np.random.default_rng(0)
    cloud = np.concatenate([rng.uniform(-1, 1, size=(90, 2)) * [10, 1], np.zeros((10, 2))])
    cloud[90:, 1] = np.resize([3, -3], 10)
    assert sorted(metrics.outermost(cloud)) == list(range(90, 100))
    # An error that only they see: |x_1| = 3 beyond |x_1| <= 1.
    truth = Energy(static(lambda x: jnp.maximum(jnp.abs(x[1]) - 1, 0.0)))
    found = metrics.l2_uvps(zero_energy(), truth, cloud, cloud, 0.0, 0.1)
    assert found["l2_uvp_edge"] == pytest.approx(10 * found["l2_uvp"], rel=1e-5)
    assert found["l2_uvp_edge"] == pytest.approx(metrics.uvp(1.0, cloud, 0.1), rel=1e-5)


def test_l2_uvp_takes_the_gradient_at_the_next_cloud_and_the_given_time():
    travelling = Energy(Partial(lambda x, t: 0.5 * t * jnp.sum(x**2)))
    tau, t = 0.5, 3.0
    found = metrics.l2_uvps(travelling, zero_energy(), CLOUD, CLOUD + 2, t, tau)["l2_uvp"]
    expected = np.mean(np.sum((t * (CLOUD + 2)) ** 2, axis=1)) / np.trace(
        np.cov(CLOUD, rowvar=False)
    )
    np.testing.assert_allclose(found, 100 * tau**2 * expected, rtol=1e-5)


def test_l2_uvp_of_a_cloud_that_does_not_vary_is_not_a_number():
    truth = Energy(static(lambda x: jnp.sum(x**2)))
    assert np.isnan(
        metrics.l2_uvps(zero_energy(), truth, np.ones((4, 2)), CLOUD[:, :2], 0.0, 0.1)["l2_uvp"]
    )


def test_the_error_of_an_interaction_is_that_of_its_mean_force():
    """W = a |z|^2 / 2 has (grad W * rho)(x) = a (x - mean), whatever else differs in W."""
    learned, truth = (
        Energy(
            static(lambda x: 7 * jnp.sum(x)), Partial(lambda a, z: 0.5 * a * jnp.sum(z**2) + a, a)
        )
        for a in (1.5, 1.0)
    )
    cloud, next_cloud, tau = CLOUD, CLOUD[:20] + 5, 0.3
    variance = np.trace(np.cov(cloud, rowvar=False))
    spread = np.mean(np.sum((next_cloud - next_cloud.mean(axis=0)) ** 2, axis=1))
    place = cloud, next_cloud, 0.0, tau
    found = metrics.l2_uvps(learned, truth, *place)["l2_uvp_interaction"]
    np.testing.assert_allclose(found, 100 * tau**2 * 0.25 * spread / variance, rtol=1e-4)
    none = metrics.l2_uvps(zero_energy(), truth, *place)["l2_uvp_interaction"]
    np.testing.assert_allclose(none, 4 * found, rtol=1e-4)


def test_the_error_of_the_drift_is_zero_where_the_errors_of_its_terms_cancel():
    """V = a |x - m|^2 / 2 around the mean m of a cloud moves it as W = a |z|^2 / 2 does."""
    cloud, tau = CLOUD, 0.3
    mean = jnp.asarray(cloud.mean(axis=0), jnp.float32)

    def around(a, x):
        return 0.5 * a * jnp.sum((x - mean) ** 2)

    def pull(a, z):
        return 0.5 * a * jnp.sum(z**2)

    def of(v, w):
        return Energy(static(Partial(around, v)), Partial(pull, w))

    def error(energy, truth):
        return metrics.l2_uvps(energy, truth, cloud, cloud, 0.0, tau)["l2_uvp_drift"]

    whole = error(of(1.0, 0.0), zero_energy())
    assert error(of(3.0, -1.0), of(0.5, 1.5)) < 1e-9 * whole
    np.testing.assert_allclose(error(of(1.0, 1.0), zero_energy()), 4 * whole, rtol=1e-4)
    # Without an interaction on either side it is the error of V.
    alone = Energy(static(Partial(around, 1.0)))
    np.testing.assert_allclose(error(alone, zero_energy()), whole, rtol=1e-4)


def test_the_implicit_condition_on_explicit_steps_by_hand_and_through_its_potential():
    """V = a |x|^2 / 2 moves x to y = (1 - tau a) x; the condition is met
    by V_hat = a / (1 - tau a) |y|^2 / 2.
    """
    a, tau = 3.0, 0.1
    truth = Energy(static(lambda x: 0.5 * a * jnp.sum(x**2)))
    met = Energy(static(lambda x: 0.5 * a / (1 - tau * a) * jnp.sum(x**2)))
    found = metrics.implicit_l2_uvp(truth, CLOUD, 0.0, tau)
    variance = np.trace(np.cov(CLOUD, rowvar=False))
    by_hand = 100 * tau**4 * a**4 * np.mean(np.sum(CLOUD**2, axis=1)) / variance
    np.testing.assert_allclose(found, by_hand, rtol=1e-4)
    moved = (1 - tau * a) * CLOUD
    np.testing.assert_allclose(
        found, metrics.l2_uvps(met, truth, CLOUD, moved, 0.0, tau)["l2_uvp"], rtol=1e-4
    )
    assert np.isnan(metrics.implicit_l2_uvp(truth, np.ones((4, 3)), 0.0, tau))


def test_symmetric_kl_of_gaussians_against_its_closed_form():
    """KL both ways between N(0, I) and N(m, I) is |m|^2."""
    rng = np.random.default_rng(0)
    shift = np.array([0.8, -0.5])
    x, y = rng.normal(size=(6000, 2)), rng.normal(size=(5000, 2)) + shift
    assert metrics.symmetric_kl(x, y) == pytest.approx(shift @ shift, abs=0.1)
    assert metrics.symmetric_kl(x, y) == pytest.approx(metrics.symmetric_kl(y, x))
    # Units do not matter.
    assert metrics.symmetric_kl(7 * x, 7 * y) == pytest.approx(metrics.symmetric_kl(x, y))


def test_symmetric_kl_without_a_neighbour_to_measure_is_nan():
    few = np.arange(4.0)[:, None]
    assert np.isnan(metrics.symmetric_kl(few, few + 0.5))
    assert np.isnan(metrics.symmetric_kl(np.zeros((9, 1)), np.ones((9, 1))))
