"""Gaussian mixtures against scipy, finite differences and closed forms; no component is lost.

The entropy against closed forms, by hand, and against all pairwise distances.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.spatial.distance
import scipy.special
import scipy.stats

from clouds import observed, poisoned
from jko import densities
from jko.densities import Mixture
from jko.snapshots import split

WEIGHT = np.array([0.5, 0.3, 0.2])
MEAN = np.array([[0.0, 0.0], [3.0, -1.0], [-2.0, 4.0]])
COVARIANCE = np.array(
    [[[1.0, 0.3], [0.3, 0.5]], [[0.2, 0.0], [0.0, 2.0]], [[1.5, -0.7], [-0.7, 0.8]]]
)
POINTS = np.random.default_rng(0).normal(size=(50, 2)) * 3


def mixture_of(weight, mean, covariance) -> Mixture:
    root = np.linalg.cholesky(covariance)
    return Mixture(*(jnp.asarray(array, jnp.float32) for array in (np.log(weight), mean, root)))


def reference(x: np.ndarray) -> np.ndarray:
    """Log of the sum of scipy's densities."""
    parts = [
        np.log(w) + scipy.stats.multivariate_normal(m, c).logpdf(x)
        for w, m, c in zip(WEIGHT, MEAN, COVARIANCE, strict=True)
    ]
    return np.logaddexp.reduce(parts)


MIXTURE = mixture_of(WEIGHT, MEAN, COVARIANCE)


def test_log_density_is_that_of_scipy():
    found = jax.vmap(densities.log_density, in_axes=(None, 0))(
        MIXTURE, jnp.asarray(POINTS, jnp.float32)
    )
    np.testing.assert_allclose(found, reference(POINTS), rtol=1e-5, atol=1e-5)


def test_far_away_logs_are_finite_where_the_density_is_zero():
    far = np.array([1e6, -1e6])
    assert np.exp(reference(far)) == 0
    found = densities.log_density(MIXTURE, jnp.asarray(far, jnp.float32))
    np.testing.assert_allclose(found, reference(far), rtol=1e-5)
    score = densities.score(MIXTURE, jnp.asarray(far, jnp.float32))
    # There one component outweighs the others by far: its score is -C^{-1} (x - m).
    nearest = np.argmax(
        [scipy.stats.multivariate_normal(m, c).logpdf(far) for m, c in zip(MEAN, COVARIANCE)]
    )
    expected = -np.linalg.solve(COVARIANCE[nearest], far - MEAN[nearest])
    np.testing.assert_allclose(score, expected, rtol=1e-4)


def test_score_is_the_finite_difference_of_the_log_density():
    step = 1e-5
    for x in POINTS[:10]:
        difference = [
            (reference(x + step * e) - reference(x - step * e)) / (2 * step) for e in np.eye(2)
        ]
        found = densities.score(MIXTURE, jnp.asarray(x, jnp.float32))
        np.testing.assert_allclose(found, difference, rtol=1e-3, atol=1e-4)


def test_score_of_one_gaussian_is_linear():
    one = mixture_of(WEIGHT[:1] / WEIGHT[:1].sum(), MEAN[1:2], COVARIANCE[2:3])
    found = jax.vmap(densities.score, in_axes=(None, 0))(one, jnp.asarray(POINTS, jnp.float32))
    expected = -np.linalg.solve(COVARIANCE[2], (POINTS - MEAN[1]).T).T
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_two_equal_components_are_one():
    twice = mixture_of(np.array([0.5, 0.5]), MEAN[[0, 0]], COVARIANCE[[0, 0]])
    once = mixture_of(np.array([1.0]), MEAN[:1], COVARIANCE[:1])
    x = jnp.array([0.7, -0.2])
    np.testing.assert_allclose(
        densities.log_density(twice, x), densities.log_density(once, x), rtol=1e-6
    )


def test_planted_gaussians_are_found(tmp_path):
    rng = np.random.default_rng(1)
    component = rng.choice(3, size=4000, p=WEIGHT)
    x = MEAN[component] + np.einsum(
        "nij,nj->ni", np.linalg.cholesky(COVARIANCE)[component], rng.normal(size=(4000, 2))
    )
    data, lines = split(x, np.repeat([0.0, 1.0], 2000), [4], 0.9), []
    fitted = densities.fit_mixtures(data, components=3, relative_floor=1e-6, report=lines.append)
    assert fitted.weight.shape == (1, 2, 3) and fitted.covariance.shape == (1, 2, 3, 2, 2)
    assert len(lines) == 2 and lines[0].startswith("seed 4 snapshot 0: mean log density ")
    for k in (0, 1):
        order = [np.argmin(np.linalg.norm(fitted.mean[0, k] - m, axis=1)) for m in MEAN]
        assert sorted(order) == [0, 1, 2]
        np.testing.assert_allclose(fitted.weight[0, k, order], WEIGHT, atol=0.05)
        np.testing.assert_allclose(fitted.mean[0, k, order], MEAN, atol=0.25)
        np.testing.assert_allclose(fitted.covariance[0, k, order], COVARIANCE, atol=0.35)
    densities.save(fitted, tmp_path / "density.npz")
    again = densities.load(tmp_path / "density.npz")
    for before, after in zip(fitted, again, strict=True):
        np.testing.assert_array_equal(before, after)
    found = densities.log_density(again.mixture(0, 1), jnp.zeros(2))
    np.testing.assert_allclose(found, reference(np.zeros(2)), atol=0.15)


def test_repeated_points_keep_all_components_and_finite_logs():
    """Half of the particles stand on one spot: the component there keeps the floor's width."""
    rng = np.random.default_rng(2)
    x = np.concatenate([np.full((60, 2), 2.0), rng.normal(size=(60, 2))])
    data = split(np.concatenate([x, x]), np.repeat([0.0, 1.0], 120), [0], 0.8)
    fitted = densities.fit_mixtures(
        data, components=4, relative_floor=1e-3, report=lambda line: None
    )
    assert (fitted.weight > 0).all() and np.isfinite(fitted.covariance).all()
    floor = 1e-3 * data.cloud(0, "train", 0).var(axis=0).mean()
    assert (np.linalg.eigvalsh(fitted.covariance[0, 0]) >= 0.99 * floor).all()
    at = jnp.asarray([[2.0, 2.0], [0.0, 0.0], [50.0, -50.0]])
    mixture = fitted.mixture(0, 0)
    for function in (densities.log_density, densities.score):
        assert np.isfinite(jax.vmap(function, in_axes=(None, 0))(mixture, at)).all()


def test_a_snapshot_without_extent_is_refused():
    data = split(
        np.repeat([[1.0, 2.0], [3.0, 4.0]], 20, axis=0), np.repeat([0.0, 1.0], 20), [0], 0.6
    )
    with pytest.raises(ValueError, match="all train particles of snapshot 0 stand on one point"):
        densities.fit_mixtures(data, components=2, relative_floor=1e-3)


def test_test_rows_change_no_density():
    data = observed(seeds=(0,))
    settings = {"kind": "gmm", "components": 2, "relative_floor": 1e-3}
    fitted = densities.estimate(data, settings, lambda line: None)
    again = densities.estimate(poisoned(data), settings, lambda line: None)
    for before, after in zip(fitted, again, strict=True):
        np.testing.assert_array_equal(before, after)


def test_what_cannot_be_estimated_says_why():
    data = observed()
    with pytest.raises(
        ValueError, match="snapshot 1 has 14 train particles; 14 components need more"
    ):
        densities.fit_mixtures(data, components=14, relative_floor=1e-3, report=lambda line: None)
    with pytest.raises(ValueError, match="density kind is 'kde'; it must be gmm"):
        densities.estimate(data, {"kind": "kde"})


def gaussian_entropy(d: int) -> float:
    return 0.5 * d * np.log(2 * np.pi * np.e)


def gaussian_cloud(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    """Standard Gaussian, scaled to mean |x|^2 = d: the mean of -log rho over the points is then H.

    Its sampling variance d / (2n) is gone; that of the distances, about 0.3 / n, is left.
    """
    x = rng.normal(size=(n, d))
    return x / np.sqrt(np.mean(x**2))


def test_entropy_of_three_points_by_hand():
    # On a line at 0, 1, 3: the nearest are 1, 1 and 2 away, the second nearest 3, 2 and 3;
    # psi(3) - psi(1) = 1 + 1/2, psi(3) - psi(2) = 1/2, and the unit ball is [-1, 1].
    x = np.array([[0.0], [1.0], [3.0]])
    first = 3 / 2 + np.log(2) + np.log(1 * 1 * 2) / 3
    second = 1 / 2 + np.log(2) + np.log(3 * 2 * 3) / 3
    np.testing.assert_allclose(densities.knn_entropy(x, 1), first, rtol=1e-14)
    np.testing.assert_allclose(densities.knn_entropy(x, 2), second, rtol=1e-14)


@pytest.mark.parametrize("neighbours", [1, 5, 39])
def test_entropy_is_that_of_all_pairwise_distances(neighbours):
    """With psi(n) - psi(k) as a sum of 1/j, and the unit ball's volume as that of dimension 3."""
    x = np.random.default_rng(3).standard_t(3, size=(40, 3))
    sorted_rows = np.sort(scipy.spatial.distance.cdist(x, x), axis=1)
    ball = 4 / 3 * np.pi * sorted_rows[:, neighbours] ** 3
    expected = sum(1 / j for j in range(neighbours, 40)) + np.mean(np.log(ball))
    np.testing.assert_allclose(densities.knn_entropy(x, neighbours), expected, rtol=1e-12)


@pytest.mark.parametrize("d", range(1, 11))
def test_entropy_of_a_standard_gaussian(d):
    found = densities.knn_entropy(gaussian_cloud(np.random.default_rng(d), 4000, d))
    # Four standard deviations of 0.009, and the curvature's bias, up to 0.07 around d = 5.
    np.testing.assert_allclose(found, gaussian_entropy(d), atol=0.036 + (0.07 if d > 1 else 0))


def test_entropy_of_a_stretched_gaussian_has_the_log_determinant():
    root = np.array([[5.0, 0.0, 0.0], [1.0, 0.5, 0.0], [-2.0, 0.3, 2.0]])
    x = gaussian_cloud(np.random.default_rng(5), 4000, 3) @ root.T
    covariance_term = 0.5 * np.linalg.slogdet(root @ root.T)[1]
    found = densities.knn_entropy(x)
    # Four standard deviations of 0.009, and a bias of 0.03.
    np.testing.assert_allclose(found, gaussian_entropy(3) + covariance_term, atol=0.066)


@pytest.mark.parametrize("sides", [(0.1,), (8.0, 8.0), (1.0, 4.0)])
def test_entropy_of_a_box_is_its_log_volume(sides):
    x = np.random.default_rng(6).uniform(size=(4000, len(sides))) * sides
    # Four standard deviations of 0.01, and the edge's bias, 0.03 in d = 2.
    np.testing.assert_allclose(densities.knn_entropy(x), np.log(np.prod(sides)), atol=0.07)


def test_an_edge_makes_entropy_too_large_by_order_n_to_the_minus_one_over_d():
    rng, d = np.random.default_rng(7), 3
    bias = [
        np.mean([densities.knn_entropy(rng.uniform(size=(n, d))) for _ in range(20)])
        for n in (500, 4000)
    ]
    # The means are known to 3 %, their ratio to 4 %, of which five are allowed.
    assert bias[0] > bias[1] > 0
    np.testing.assert_allclose(bias[0] / bias[1], 8 ** (1 / d), rtol=0.2)


def test_entropy_of_two_far_gaussians_is_larger_by_log_two():
    rng = np.random.default_rng(8)
    one, other = (gaussian_cloud(rng, 2000, 2) for _ in range(2))
    found = densities.knn_entropy(np.concatenate([one, other + 1e3]))
    # Four standard deviations of 0.009, and a bias of 0.013.
    np.testing.assert_allclose(found, np.log(2) + gaussian_entropy(2), atol=0.05)
    # A copy far away changes no distance, only psi(n) into psi(2n).
    twice = densities.knn_entropy(np.concatenate([one, one + 1e3]))
    more = scipy.special.digamma(4000) - scipy.special.digamma(2000)
    np.testing.assert_allclose(twice, densities.knn_entropy(one) + more, rtol=1e-9)


@pytest.mark.parametrize("d", [1, 2, 7])
def test_entropy_moves_with_the_scale_and_not_with_the_place(d):
    rng = np.random.default_rng(9)
    x = rng.standard_t(4, size=(300, d))
    turn = scipy.stats.ortho_group.rvs(d, random_state=rng) if d > 1 else -np.eye(1)
    entropy = densities.knn_entropy(x)
    # Exact but for rounding: of the coordinates, where they are shifted.
    for a in (1e-6, 0.3, 1e4):
        np.testing.assert_allclose(
            densities.knn_entropy(a * x), entropy + d * np.log(a), rtol=0, atol=1e-11
        )
    np.testing.assert_allclose(densities.knn_entropy(x + 100), entropy, rtol=0, atol=1e-9)
    np.testing.assert_allclose(densities.knn_entropy(x @ turn), entropy, rtol=0, atol=1e-11)


def test_the_entropy_error_falls_as_one_over_the_root_of_the_points():
    rng, sizes = np.random.default_rng(10), (250, 1000, 4000)
    error = [
        np.sqrt(
            np.mean(
                [
                    (densities.knn_entropy(rng.normal(size=(n, 2))) - gaussian_entropy(2)) ** 2
                    for _ in range(60)
                ]
            )
        )
        for n in sizes
    ]
    # A root mean square of 60 draws is known to 1 / sqrt(120) = 9 %: 13 % for the ratio of two and
    # 0.045 for the slope, of which the tolerance is three.
    assert error[0] > error[1] > error[2]
    slope = np.log(error[2] / error[0]) / np.log(sizes[2] / sizes[0])
    np.testing.assert_allclose(slope, -0.5, atol=0.14)


def test_coinciding_points_and_too_few_have_no_entropy():
    x = np.random.default_rng(11).normal(size=(20, 2))
    x[:6] = x[0]
    with pytest.raises(ValueError, match="6 of 20 points coincide with 5 or more others"):
        densities.knn_entropy(x)
    # With five on one spot their fifth neighbour is elsewhere.
    assert np.isfinite(densities.knn_entropy(x[1:]))
    assert np.isfinite(densities.knn_entropy(x[6:12]))
    with pytest.raises(ValueError, match="entropy by 5 neighbours of 5 points; neighbours must"):
        densities.knn_entropy(x[6:11])
    with pytest.raises(ValueError, match="entropy by 0 neighbours of 20 points"):
        densities.knn_entropy(x, 0)
