"""Uncertainty: intervals and their coverage, against a potential whose posterior is known."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from scipy.stats import norm

from jko import metrics, uncertainty
from jko.energies import Energy, zero_energy
from jko.uncertainty import Uncertainty

CLOUD = np.random.default_rng(0).normal(size=(400, 2)).astype(np.float32)
TAU = 0.1


def slope(a, x, t):
    return a @ x


def isotropic(variance, x, t):
    """Covariance of grad V where each component is as uncertain, and everywhere the same."""
    return variance * jnp.eye(x.size)


def linear(rng, deviation) -> Energy:
    """V(x) = a . x with a drawn from the posterior about V = 0."""
    return Energy(Partial(slope, jnp.asarray(deviation * rng.normal(size=2), jnp.float32)))


def test_intervals_of_a_right_posterior_hold_the_truth_as_often_as_they_say():
    rng, covariance = np.random.default_rng(1), Partial(isotropic, jnp.float32(0.49))
    shares = [
        uncertainty.gradient_coverage(linear(rng, 0.7), zero_energy(), covariance, CLOUD[:2], 0.0)
        for _ in range(400)
    ]
    # A binomial of 800 trials has a deviation of 0.011.
    assert abs(np.mean(shares) - 0.9) < 0.035


def test_half_the_deviation_holds_the_share_of_the_normal_law():
    rng, covariance = np.random.default_rng(2), Partial(isotropic, jnp.float32(0.49 / 4))
    shares = [
        uncertainty.gradient_coverage(linear(rng, 0.7), zero_energy(), covariance, CLOUD[:2], 0.0)
        for _ in range(400)
    ]
    assert abs(np.mean(shares) - (2 * norm.cdf(1.6449 / 2) - 1)) < 0.05


def test_the_expected_error_is_the_mean_of_the_errors():
    rng, covariance = np.random.default_rng(3), Partial(isotropic, jnp.float32(0.49))
    following = CLOUD + np.float32(1)
    errors = [
        metrics.l2_uvps(linear(rng, 0.7), zero_energy(), CLOUD, following, 0.0, TAU)["l2_uvp"]
        for _ in range(400)
    ]
    expected = uncertainty.expected_l2_uvp(covariance, CLOUD, following, 0.0, TAU)
    np.testing.assert_allclose(np.mean(errors), expected, rtol=0.15)


@pytest.mark.parametrize(("beta", "held"), [(0.1, 1.0), (-0.06, 1.0), (0.27, 0.0), (-0.07, 0.0)])
def test_the_interval_of_beta_reaches_below_zero(beta, held):
    found = Uncertainty(None, beta=beta, beta_deviation=0.1)
    assert uncertainty.beta_coverage(found, 0.1) == held


def test_a_posterior_that_is_no_number_covers_nothing():
    covariance = Partial(isotropic, jnp.float32(np.nan))
    found = uncertainty.gradient_coverage(zero_energy(), zero_energy(), covariance, CLOUD, 0.0)
    assert np.isnan(found)


def test_slopes_and_their_deviations_are_those_of_the_first_coordinate():
    energy = Energy(Partial(slope, jnp.asarray([2.0, 5.0])))
    np.testing.assert_allclose(uncertainty.slopes(energy, CLOUD[:3], 0.0), 2.0)
    covariance = Partial(isotropic, jnp.float32(0.25))
    np.testing.assert_allclose(uncertainty.slope_deviations(covariance, CLOUD[:3], 0.0), 0.5)
