"""Steps of Gauss and Newton: one coefficient and one residual, where they can be followed by hand."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from jko import gauss_newton, weak

ROOT, HEIGHT = 0.7, 100.0
NOISE = weak.Noise(np.ones(1), np.eye(1), np.eye(1))
# A prior of variance 1 that stays as it is.
SCALES = np.array([0.0]), np.array([True])


def climb(monkeypatch, residual, slope, start, iterations=40):
    """The steps for residual r(theta) of slope -X, from a start on."""

    def normal_equations(population, tests, white, coefficients, own):
        (theta,) = coefficients
        x, r = slope(theta), residual(theta)
        gram = np.array([[x * x]])
        moment = gram @ coefficients + x * r
        return weak.Normal(gram, moment, (r + x * theta) ** 2, r * r)

    monkeypatch.setattr(weak, "normal_equations", normal_equations)
    monkeypatch.setattr(weak, "own_score", lambda *arguments: np.zeros(1))
    return gauss_newton.climb(
        None, None, NOISE, np.zeros(1, int), SCALES, np.array([start]), np.zeros(0), iterations
    )


# Whole steps from farther away than 5^(1/2) jump over ROOT, each a little farther than it was away; half ones do not.
FAR = ROOT + 3


def root_residual(theta):
    z = theta - ROOT
    return -HEIGHT * z * (1 + z * z) ** -0.3


def root_slope(theta):
    z = theta - ROOT
    return HEIGHT * (1 + 0.4 * z * z) * (1 + z * z) ** -1.3


def test_a_linear_residual_is_solved_by_one_step(monkeypatch):
    reached = climb(monkeypatch, lambda theta: 3.0 * (ROOT - theta), lambda theta: 3.0, 5.0)
    prior = np.exp(-SCALES[0][0])
    assert reached.settled and len(reached.path) == 2
    np.testing.assert_allclose(reached.found.mean, 9 * ROOT / (9 + prior), rtol=1e-12)
    np.testing.assert_allclose(reached.found.covariance, 1 / (9 + prior), rtol=1e-12)
    assert reached.path[0]["loss"] == pytest.approx((3 * (5 - ROOT)) ** 2)


def test_steps_to_and_fro_settle_by_halves(monkeypatch):
    with monkeypatch.context() as whole:
        whole.setattr(gauss_newton, "_WHOLE", 10**6)
        turning = climb(whole, root_residual, root_slope, FAR)
    assert not turning.settled and abs(turning.found.mean - ROOT) > 0.1
    reached = climb(monkeypatch, root_residual, root_slope, FAR)
    assert reached.settled
    np.testing.assert_allclose(reached.found.mean, ROOT, atol=1e-2)


def test_a_step_that_makes_all_worse_is_halved(monkeypatch):
    """An exponential from where it is flat: the whole first step, nearly to 28, would end at e^140."""
    reached = climb(
        monkeypatch,
        lambda theta: 10 * (1 - np.exp(5 * theta)),
        lambda theta: 50 * np.exp(5 * theta),
        -1.0,
    )
    assert reached.settled and max(step["loss"] for step in reached.path) < 200
    np.testing.assert_allclose(reached.found.mean, 0, atol=1e-3)


def test_too_few_steps_are_said_so(monkeypatch):
    reached = climb(monkeypatch, root_residual, root_slope, FAR, iterations=3)
    assert not reached.settled and len(reached.path) == 3


def test_a_residual_that_is_no_number_is_an_error(monkeypatch):
    with pytest.raises(np.linalg.LinAlgError, match="residuals of the train particles"):
        climb(monkeypatch, lambda theta: np.nan, lambda theta: 1.0, 1.0)


def test_the_misfit_is_chi_squared_over_what_the_known_coefficients_leave_of_it():
    nothing = np.zeros((50, 50))
    noise = weak.Noise(np.ones(50), nothing, nothing)
    found = SimpleNamespace(known=np.array([4.0, 6.0]))
    reached = gauss_newton.Climb(found, [{"loss": 9.0}, {"loss": 1.6}], True)
    assert gauss_newton.misfit(reached, noise) == pytest.approx(1.6 * 50 / 40)
    # Of ten residuals nothing is said.
    assert gauss_newton.misfit(reached, noise._replace(gone=10)) == pytest.approx(1.6 * 50 / 30)


def test_chi_squared_fits_up_to_two_of_its_deviations():
    nothing = np.zeros((60, 60))
    noise = weak.Noise(np.ones(60), nothing, nothing)
    found = SimpleNamespace(known=np.array([4.0, 6.0]))

    def fits(square):
        return gauss_newton.fits(gauss_newton.Climb(found, [{"loss": square / 60}], True), noise)

    # Of 50 squares of normal numbers the mean is 50 and the variance 100.
    assert fits(10.0) and fits(69.9) and not fits(70.1)
