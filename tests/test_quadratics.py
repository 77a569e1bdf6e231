"""Minimisers against scipy's bounded least squares; rank and errors by hand."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize

from jko.quadratics import Quadratic, condition, rank


def problem(last: float, groups=(3, 2), n: int = 40) -> tuple[np.ndarray, np.ndarray, Quadratic]:
    """A regression on correlated columns, whose last coefficient is ``last``."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(n, sum(groups) + 1)) + rng.normal(size=(n, 1))
    # Groups of other size, as monomials and waves are.
    rows[:, : groups[0]] *= 30
    target = rows @ np.append(rng.normal(size=sum(groups)), last) + 0.1 * rng.normal(size=n)
    return rows, target, Quadratic(rows.T @ rows, rows.T @ target, target @ target, float(n))


@pytest.mark.parametrize("ridge", [1e-8, 1e-3])
@pytest.mark.parametrize("last", [0.7, -0.7])
def test_the_minimiser_is_that_of_bounded_least_squares(last, ridge):
    """Rows of their own for the ridge: none for the last entry."""
    rows, target, quadratic = problem(last)
    level = np.concatenate(
        [
            np.full(3, np.mean(np.sum(rows[:, :3] ** 2, axis=0))),
            np.full(2, 3 * np.mean(np.sum(rows[:, 3:5] ** 2, axis=0))),
        ]
    )
    ridges = np.diag(np.append(np.sqrt(ridge * level), 0))
    low = np.append(np.full(5, -np.inf), 0)
    expected = scipy.optimize.lsq_linear(
        np.concatenate([rows, ridges]), np.append(target, np.zeros(6)), (low, np.inf), tol=1e-14
    ).x
    found = quadratic.minimiser([(3, ridge), (2, 3 * ridge)])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)
    assert found[-1] > 0.1 if last > 0 else found[-1] == 0
    assert quadratic.loss(found) == pytest.approx(np.mean((rows @ found - target) ** 2), rel=1e-9)


def test_without_an_entry_behind_the_groups_none_is_bounded():
    rows, target, quadratic = problem(-0.7)
    expected = np.linalg.lstsq(rows, target)[0]
    np.testing.assert_allclose(quadratic.minimiser([(3, 0.0), (3, 0.0)]), expected, rtol=1e-8)
    assert expected[-1] < -0.3


def test_a_bounded_entry_alone():
    for moment, expected in ((3.0, 1.5), (-3.0, 0.0)):
        alone = Quadratic(np.array([[2.0]]), np.array([moment]), 1.0, 1.0)
        assert alone.minimiser([]) == pytest.approx([expected])


def test_what_cannot_be_solved_says_why():
    rows, target, quadratic = problem(1.0)
    twice = np.concatenate([rows, rows], axis=1)
    singular = Quadratic(twice.T @ twice, twice.T @ target, target @ target, 40.0)
    assert rank(singular.gram) == rank(quadratic.gram) == 6 and rank(np.zeros((2, 2))) == 0
    with pytest.raises(np.linalg.LinAlgError, match="singular in float64 at ridge 1e-30"):
        singular.minimiser([(12, 1e-30)])
    # A ridge shares alike among the columns that are alike.
    found = singular.minimiser([(12, 1e-9)])
    np.testing.assert_allclose(found[:6], found[6:], rtol=1e-5, atol=1e-5)
    with pytest.raises(np.linalg.LinAlgError, match="not finite"):
        quadratic._replace(moment=np.full(6, np.nan)).minimiser([(6, 1.0)])


def test_the_loss_of_parts_is_that_of_the_whole():
    rows, target, quadratic = problem(1.0)
    parts = [
        Quadratic(
            rows[part].T @ rows[part],
            rows[part].T @ target[part],
            target[part] @ target[part],
            20.0,
        )
        for part in (slice(0, 20), slice(20, 40))
    ]
    for one, other in zip(parts[0] + parts[1], quadratic, strict=True):
        np.testing.assert_allclose(one, other)


def test_neither_rank_nor_condition_knows_the_units():
    _, _, quadratic = problem(1.0)
    units = np.diag([1e-9, 1.0, 1e9, 1.0, 1e3, 1e-3])
    correlations = np.diag(1 / np.sqrt(np.diag(quadratic.gram)))
    expected = np.linalg.cond(correlations @ quadratic.gram @ correlations)
    for gram in (quadratic.gram, units @ quadratic.gram @ units):
        assert rank(gram) == 6 and condition(gram) == pytest.approx(expected, rel=1e-6)
    # An entry that changes nothing has no unit.
    without = np.pad(quadratic.gram, (0, 1))
    assert rank(without) == 6 and condition(without) > 1e15
