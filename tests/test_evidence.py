"""Evidence: against the density of the data, and the posterior against the normal equations."""

from __future__ import annotations

import numpy as np
from scipy.stats import multivariate_normal

from jko import evidence

GROUP = np.array([0, 0, 1, 1, 1])


def problem(seed=0, rows=30):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, len(GROUP)))
    truth = np.array([1.0, -2.0, 0.05, -0.02, 0.01])
    return x, x @ truth + rng.normal(size=rows)


def moments(x, data):
    return x.T @ x, x.T @ data, float(data @ data)


def test_posterior_solves_the_penalised_normal_equations():
    x, data = problem()
    log_variance = np.array([0.3, -2.0])
    found = evidence.posterior(*moments(x, data), GROUP, log_variance)
    precision = x.T @ x + np.diag(np.exp(-log_variance)[GROUP])
    np.testing.assert_allclose(found.covariance, np.linalg.inv(precision), rtol=1e-9)
    np.testing.assert_allclose(found.mean, np.linalg.solve(precision, x.T @ data), rtol=1e-9)


def test_evidence_is_the_log_density_of_the_data_up_to_a_constant():
    x, data = problem()

    def density(log_variance):
        covariance = np.eye(len(data)) + x @ np.diag(np.exp(log_variance)[GROUP]) @ x.T
        return multivariate_normal.logpdf(data, np.zeros(len(data)), covariance)

    scales = [np.array([0.0, 0.0]), np.array([1.0, -5.0]), np.array([-3.0, 2.0])]
    found = [evidence.posterior(*moments(x, data), GROUP, v).evidence for v in scales]
    constant = found[0] - density(scales[0])
    np.testing.assert_allclose(found, [density(v) + constant for v in scales], rtol=1e-10)


def test_the_most_probable_scales_are_at_the_top_and_fixed_ones_stay():
    x, data = problem()
    best = evidence.maximise(*moments(x, data), GROUP, np.array([-2.0, -2.0]))

    def height(log_variance):
        found = evidence.posterior(*moments(x, data), GROUP, log_variance)
        return found.evidence + np.sum(log_variance) / 2

    for step in np.eye(2):
        for sign in (-0.3, 0.3):
            assert height(best.log_variance + sign * step) <= height(best.log_variance) + 1e-6
    fixed = evidence.maximise(
        *moments(x, data), GROUP, np.array([0.0, -40.0]), np.array([False, True])
    )
    assert fixed.log_variance[1] == -40.0
    np.testing.assert_allclose(fixed.mean[2:], 0, atol=1e-12)
    # Two coefficients stand far above the noise, and three were switched off.
    assert 1.9 < fixed.known[0] <= 2 and abs(fixed.known[1]) < 1e-6


def test_a_group_without_a_trace_in_the_data_has_the_weight_of_one_coefficient():
    group = np.repeat([0, 1], [2, 20])
    gram = 100 * np.eye(22)
    # As large as the noise: 10 z with z = 1 for each of the twenty, where the evidence alone has its top at zero.
    moment = np.append([500.0, -700.0], np.full(20, 10.0))
    found = evidence.maximise(gram, moment, 1e4, group, np.array([0.0, -4.0]))
    shares = 1 - np.diag(found.covariance)[2:] * np.exp(-found.log_variance[1])
    # n u^2 = (1 + u)^2 for n coefficients and u = 100 v.
    u = 1 / (np.sqrt(20) - 1)
    np.testing.assert_allclose(shares, u / (1 + u), rtol=1e-2)
