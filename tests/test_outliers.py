"""A snapshot that does not belong: residuals that are made up, and what is found of them."""

from __future__ import annotations

import numpy as np
import pytest

from jko import outliers, weak
from jko.evidence import Posterior
from jko.gauss_newton import Climb

INTERVALS, TESTS = 5, 60
N = INTERVALS * TESTS


def test_intervals_that_are_gone_say_nothing_and_the_others_all_that_they_said():
    rng = np.random.default_rng(0)
    root = rng.normal(size=(12, 30))
    covariance, r = root @ root.T, rng.normal(size=12)
    white = weak.factored(covariance)
    rest = outliers.without(white, 4, [1, 2])
    kept = np.r_[0:3, 9:12]
    expected = r[kept] @ np.linalg.solve(covariance[np.ix_(kept, kept)], r[kept])
    for far in (1.0, 1e3):
        spoiled = r.copy()
        spoiled[3:9] *= far
        assert spoiled @ rest.inverse @ spoiled == pytest.approx(expected, rel=1e-4)
    assert rest.gone == 6 and weak.expected_square(rest) == pytest.approx(6, rel=1e-4)


def found(residual, carried=4.0):
    """What is found of residuals (N,) with unit noise that no energy fits."""
    white = weak.factored(np.eye(N))

    def refit(noise):
        square = residual @ noise.inverse @ residual
        none = np.zeros(1)
        posterior = Posterior(none, np.eye(1), none, -square / 2, none)
        return Climb(posterior, [{"loss": square / N}], True)

    return outliers.find(refit, white, residual @ residual, INTERVALS, carried)


@pytest.mark.parametrize("k", range(INTERVALS + 1))
def test_the_snapshot_whose_intervals_are_bad_is_found(k):
    residual = np.random.default_rng(k).normal(size=(INTERVALS, TESTS))
    size = 2.0 * np.random.default_rng(9).normal(size=TESTS)
    # As an error of its mean enters both.
    if k > 0:
        residual[k - 1] += size
    if k < INTERVALS:
        residual[k] -= size
    odd = found(residual.ravel())
    assert odd.snapshot == k and odd.ratio > 3
    assert odd.white.gone == TESTS * ((k > 0) + (k < INTERVALS))


def test_noise_and_what_no_energy_carries_have_no_outlier():
    residual = np.random.default_rng(0).normal(size=N)
    assert found(residual) is None
    # Waves that the energy does not see, in all intervals; and residuals that are bad without the snapshot, too.
    assert found(1.7 * residual) is None
    residual[:TESTS] *= 3
    assert found(residual).snapshot == 0 and found(3 * residual) is None


def test_most_of_the_intervals_stay():
    residual = np.random.default_rng(0).normal(size=(INTERVALS, TESTS))
    residual[1:4] *= 4
    # Two snapshots' worth is bad: without either of them the rest is bad still.
    assert found(residual.ravel(), carried=2.0) is None
