"""A snapshot that does not belong: residuals that are made up, and what is found of them."""

from __future__ import annotations

import numpy as np
import pytest

from jko import model_error, outliers, weak
from jko.evidence import Posterior
from jko.gauss_newton import Climb

INTERVALS, TESTS = 5, 60
N = INTERVALS * TESTS


def test_intervals_that_are_gone_say_nothing_and_the_others_all_that_they_said():
    rng = np.random.default_rng(0)
    root = rng.normal(size=(12, 30))
    covariance, r = root @ root.T, rng.normal(size=12)
    rest = outliers.without(weak.factored(covariance), 4, 2)
    kept = np.r_[0:3, 9:12]
    expected = r[kept] @ np.linalg.solve(covariance[np.ix_(kept, kept)], r[kept])
    for far in (1.0, 1e3):
        spoiled = r.copy()
        spoiled[3:9] *= far
        assert spoiled @ rest.inverse @ spoiled == pytest.approx(expected, rel=1e-4)
    assert rest.gone == 6 and weak.expected_square(rest) == pytest.approx(6, rel=1e-4)


@pytest.mark.parametrize("nugget", [1e-6, 0.05])
def test_what_was_filled_in_is_no_part_of_chi_squared(nugget):
    """Of residuals most of which say the same, with and without a snapshot, and with more noise beside."""
    rng = np.random.default_rng(0)
    root = rng.normal(size=(12, 4))
    covariance, kept = root @ root.T, np.r_[0:3, 9:12]
    white = weak.factored(covariance, nugget)
    assert weak.expected_square(white) == pytest.approx(np.trace(white.inverse @ covariance))
    rest = outliers.without(white, 4, 2)
    inner = np.ix_(kept, kept)
    assert weak.expected_square(rest) == pytest.approx(
        np.trace(rest.inverse[inner] @ covariance[inner]), rel=1e-3
    )
    more = model_error.added(white, np.eye(12))
    assert weak.expected_square(more) == pytest.approx(
        np.trace(more.inverse @ (covariance + np.eye(12)))
    )


def noise_of(seed):
    """Residuals (INTERVALS, TESTS) as independent means leave them, with unit variance."""
    errors = np.random.default_rng(seed).normal(size=(INTERVALS + 1, TESTS))
    return (errors[1:] - errors[:-1]) / np.sqrt(2)


def steps(residual, white):
    """Where the steps of an energy without coefficients end."""
    square, none = residual @ white.inverse @ residual, np.zeros(1)
    posterior = Posterior(none, np.eye(1), none, -square / 2, none)
    return Climb(posterior, [{"loss": square / len(residual)}], True)


def found(residual, intervals=INTERVALS, covariance=None):
    """What is found of residuals that no energy fits, under their own noise."""
    neighbours = np.eye(intervals) - (np.eye(intervals, k=1) + np.eye(intervals, k=-1)) / 2
    covariance = np.eye(TESTS) if covariance is None else covariance
    white = weak.factored(np.kron(neighbours, covariance))
    residual = residual[:intervals].ravel()

    def refit(snapshot):
        rest = outliers.without(white, intervals, snapshot)
        return steps(residual, rest), rest, residual

    return outliers.find(refit, steps(residual, white), white, intervals, carried=1.25)


@pytest.mark.parametrize("k", range(1, INTERVALS))
def test_an_inner_snapshot_whose_means_are_wrong_is_found(k):
    residual, error = noise_of(k), 3 * np.random.default_rng(9).normal(size=TESTS)
    # It ends one interval and begins the next.
    residual[k - 1] += error
    residual[k] -= error
    odd = found(residual)
    assert odd.snapshot == k and odd.ratio > 3
    # Of four intervals two would be left.
    assert found(residual, intervals=4) is None


def test_noise_a_wrong_energy_and_the_ends_have_no_outlier():
    assert found(noise_of(0)) is None
    error = 3 * np.random.default_rng(9).normal(size=TESTS)
    for rows in ([1, 2], [0], [INTERVALS - 1]):
        residual = noise_of(1)
        # The same sign in two: what an energy misses in these intervals.
        residual[rows] += error
        assert found(residual) is None


def test_noise_of_few_directions_has_no_outlier():
    """Bumps that overlap are near to each other: few directions, in which signs are opposite by chance, and one F_k in two hundred is
    above 1.7. The misfit of all is near 1, and so nothing is suspected.
    """
    near = np.exp(-((np.arange(TESTS)[:, None] - np.arange(TESTS)) ** 2) / 400)
    covariance = near + 1e-3 * np.eye(TESTS)
    root = np.linalg.cholesky(covariance)
    for seed in range(50):
        errors = np.random.default_rng(seed).normal(size=(INTERVALS + 1, TESTS)) @ root.T
        residual = (errors[1:] - errors[:-1]) / np.sqrt(2)
        assert found(residual, covariance=covariance) is None


def test_what_stays_is_carried_to_its_noise():
    residual, error = noise_of(2), 3 * np.random.default_rng(9).normal(size=TESTS)
    residual[1] += error
    residual[2] -= error
    assert found(residual).snapshot == 2 and found(1.3 * residual) is None
