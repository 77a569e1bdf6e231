"""Gaussian mixtures against scipy, finite differences and closed forms; no component is lost."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
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
