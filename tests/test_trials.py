"""Test and trial functions of the weak form: waves, orthonormal monomials, and the scales of every candidate."""

from __future__ import annotations

import numpy as np
import pytest

from jko import heat, trials
from jko.evidence import LOWEST
from jko.features import gap, monomials
from jko.slopes import gradients

FACTORS = monomials(2, 3, 30)
POINTS = np.array([[0.0, 0.5], [-1.0, 0.2], [0.8, -0.9]])


def clouds():
    rng = np.random.default_rng(0)
    return [3 + rng.normal(size=(n, 2)) @ np.array([[1.0, 0.5], [0.0, 0.2]]) for n in (60, 90, 70)]


def test_orthonormal_monomials_have_orthonormal_slopes():
    basis = {"monomials": FACTORS, "centers": POINTS, "sigma": np.ones(3)}
    change = trials.orthonormal(basis, clouds())
    np.testing.assert_allclose(change, np.triu(change), atol=1e-9)
    p, places = len(FACTORS), np.concatenate(clouds()[:-1])
    slopes = heat.gradients(basis, places)[:, :, :p] @ change
    gram = np.einsum("ndp,ndq->pq", slopes, slopes) / len(places)
    np.testing.assert_allclose(gram, np.eye(p), atol=1e-4)
    broken = clouds()
    broken[0][3, 1] = np.nan
    with pytest.raises(np.linalg.LinAlgError, match="no finite slopes"):
        trials.orthonormal(basis, broken)


@pytest.mark.parametrize("interaction", [False, True])
def test_every_width_stands_with_and_without_an_interaction(interaction):
    plain, *others = trials.candidates(FACTORS, POINTS, [1.0, 4.0], interaction)
    assert len(others) == (6 if interaction else 2)
    assert [float(one.basis["sigma"]) for one in others[:2]] == [gap(POINTS), 4 * gap(POINTS)]
    # The wide prior of beta stays, and the bumps are off where the monomials are alone.
    assert plain.start[2] == LOWEST and plain.fixed.tolist()[:3] == [True, False, True]
    for one in others:
        assert one.fixed.tolist()[:3] == [True, False, False]
        assert len(one.start) == (5 if interaction else 3)
    if interaction:
        # A W with quadratic forms must be worth more than one without.
        assert [one.log_prior for one in others] == [-trials._RARE] * 2 + [0.0] * 4
        for one in others[2:4]:
            assert one.fixed[3:].tolist() == [False, True] and one.name.endswith(", radial W")
        for one in others[4:]:
            assert (one.start[3:] == LOWEST).all() and one.name.endswith(", no W")


def test_the_moments_that_an_entropy_moves_have_the_wide_prior():
    basis = {"monomials": FACTORS, "centers": POINTS}
    low = np.sum(FACTORS < 2, axis=1) <= 2
    found = trials.groups_of(basis, [2, 1], True)
    assert found.tolist() == [*np.where(low, 0, 1), 2, 2, 2, 3, 3, 4, 0]
    assert trials.groups_of(basis, [], False).tolist() == [1] * len(FACTORS) + [2] * 3


def test_what_depends_on_time_has_scales_of_its_own():
    basis = {"monomials": FACTORS, "centers": POINTS}
    plain = trials.groups_of(basis, [], True).tolist()
    assert trials.groups_of(basis, [2, 1], True, powers=2).tolist() == [
        *plain[:-1],
        *([3] * len(FACTORS) + [4] * 3) * 2,
        *[5, 5, 6, 0],
    ]
    for one in trials.candidates(FACTORS, POINTS, [1.0], True, varying=True):
        assert len(one.start) == 7
        assert (one.start[4] == LOWEST) == (one.name == "monomials alone") == one.fixed[4]


def test_fields_are_slopes_times_powers_of_time():
    basis = {"monomials": FACTORS, "centers": POINTS, "sigma": np.ones(3)}
    change, p = trials.orthonormal(basis, clouds()), len(FACTORS)
    powers = np.array([[1.0, -0.5], [1.0, 0.2], [1.0, 0.9]])
    found = trials.fields(basis, change, clouds()[:2], powers)
    assert len(found) == 2
    for cloud, field, power in zip(clouds(), found, powers, strict=False):
        field, slopes = gradients(field), heat.gradients(basis, cloud)
        slopes = np.concatenate([slopes[:, :, :p] @ change, slopes[:, :, p:]], axis=2)
        np.testing.assert_allclose(field[:, :, : p + 3], slopes, rtol=1e-9)
        np.testing.assert_allclose(field[:, :, p + 3 :], power[1] * slopes, rtol=1e-9)


def test_centres_lie_among_the_particles_and_repeat():
    found = trials.centres(clouds(), 5, seed=4)
    np.testing.assert_array_equal(found, trials.centres(clouds(), 5, seed=4))
    low, high = (edge(np.concatenate(clouds()), axis=0) for edge in (np.min, np.max))
    assert found.shape == (5, 2) and (found > low).all() and (found < high).all()


def test_waves_are_half_waves_over_a_uniform_law_and_take_the_room_that_is_left():
    sides = np.array([3.0, 0.5])
    grid = np.stack(np.meshgrid(*2 * [np.linspace(0, 1, 200)]), axis=-1).reshape(-1, 2) * sides
    found = trials.tests([grid, grid], FACTORS, 4, 3, [1.0, 2.0], 0)
    half = np.pi / sides
    expected = [[half[0], 0], [0, half[1]]]
    np.testing.assert_allclose(
        found["waves"], np.concatenate([np.multiply(k, expected) for k in (1, 2, 3)]), rtol=0.01
    )
    np.testing.assert_allclose(found["sigma"], gap(found["centers"]) * np.array([1, 2, 1, 2]))
    assert heat.count(found) == len(FACTORS) + 4 + 12
    assert trials.tests([grid], FACTORS, 4, 0, [1.0], 0)["waves"].shape == (0, 2)
    settings = {"centers": 60, "waves": 16}
    assert trials.numbers(14, 2, 500, settings) == (60, 16)
    assert trials.numbers(14, 2, 100, settings) == (60, 6)
    assert trials.numbers(14, 2, 70, settings) == (56, 0)
    assert trials.numbers(14, 2, 500, settings | {"waves": 0}) == (60, 0)
