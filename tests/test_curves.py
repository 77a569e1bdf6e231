"""Curves through coupled particles: partners by their weights, chains of known motions, both curves by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from clouds import followed, observed
from jko import curves
from jko.couplings import couple_snapshots, exact

EXACT = {"kind": "exact"}


def silent(line: str) -> None:
    pass


def test_partners_are_drawn_along_the_plan_from_either_side():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, 2)), rng.normal(size=(47, 2)) + 5
    plan = exact(x, y)
    pairs = set(zip(plan.i.tolist(), plan.j.tolist(), strict=True))
    all_x, all_y = np.arange(30), np.arange(47)
    drawn = np.array(
        [curves.partners(all_x, plan.i, plan.j, plan.weight, rng) for _ in range(2000)]
    )
    back = curves.partners(all_y, plan.j, plan.i, plan.weight, rng)
    assert {(i, j) for draw in drawn[:50] for i, j in enumerate(draw)} <= pairs
    assert {(i, j) for j, i in enumerate(back)} <= pairs
    # Over many draws the partners have the weights of the plan.
    expected = np.zeros_like(x)
    np.add.at(expected, plan.i, 30 * plan.weight[:, None] * y[plan.j])
    np.testing.assert_allclose(y[drawn].mean(axis=0), expected, atol=0.1)


def test_a_particle_without_a_pair_is_named():
    i = np.array([0, 2])
    with pytest.raises(ValueError, match="row 1 has no pair in the coupling"):
        curves.partners(np.array([0, 1]), i, i, np.ones(2), np.random.default_rng(0))


def test_chains_follow_particles_along_the_coupling_both_ways():
    motion = np.array([[0.0, 0.0], [1.0, 0.5], [3.0, -1.0], [4.0, 2.0]])
    # Particles change their order, so that a chain of rows at the same place would mix them.
    order = np.random.default_rng(0).permutation(20)
    data, coupling = followed(
        lambda x, k: x + motion[min(k + 1, 3)] - motion[k], n=20, steps=3, seeds=(0, 4)
    )
    x = data.x.copy()
    second = data.rows(1, "train", 2)
    x[second] = x[second][order]
    place = np.argsort(order)

    def moved(rows):
        inside = np.isin(rows, second)
        return np.where(
            inside, second[place[np.searchsorted(second, np.where(inside, rows, second[0]))]], rows
        )

    data = dataclasses.replace(data, x=x)
    coupling = coupling._replace(i=moved(coupling.i), j=moved(coupling.j))
    for k in range(4):
        along = curves.chains(data, coupling, 1, k, np.random.default_rng(0))
        np.testing.assert_array_equal(along[k], data.cloud(1, "train", k))
        for m in range(4):
            np.testing.assert_allclose(along[m], along[k] + motion[m] - motion[k], atol=1e-12)


def test_chains_stay_within_the_train_rows_of_their_seed():
    data = observed(seeds=(0, 7))
    coupling = couple_snapshots(data, EXACT, silent)
    for s in (0, 1):
        for k in range(3):
            along = curves.chains(data, coupling, s, k, np.random.default_rng(1))
            for m in range(3):
                assert set(map(tuple, along[m])) <= set(map(tuple, data.cloud(s, "train", m)))


@pytest.mark.parametrize("curve", ["linear", "spline"])
def test_curves_pass_through_their_chains_and_straight_motion_is_exact(curve):
    time = np.array([0.0, 1.0, 3.0, 3.5])
    rng = np.random.default_rng(0)
    along = rng.normal(size=(4, 6, 2))
    paths = curves.through(along, time, curve)
    for t, cloud in zip(time, along, strict=True):
        np.testing.assert_allclose(paths(t), cloud, atol=1e-12)
    velocity = rng.normal(size=(6, 2))
    straight = curves.through(along[0] + time[:, None, None] * velocity, time, curve)
    np.testing.assert_allclose(straight(2.0), along[0] + 2 * velocity, atol=1e-12)
    np.testing.assert_allclose(straight.derivative()(2.0), velocity, atol=1e-12)


def test_a_polygon_has_the_velocity_of_each_interval():
    along = np.array([0.0, 1.0, 5.0])[:, None, None]
    paths = curves.through(along, np.array([0.0, 1.0, 3.0]), "linear")
    assert paths(2.0).item() == 3.0
    assert [paths.derivative()(t).item() for t in (0.5, 2.5)] == [1.0, 2.0]


def test_the_spline_has_the_least_acceleration():
    time, along = np.array([0.0, 1.0, 3.0]), np.array([0.0, 1.0, 0.0])[:, None, None]
    bent = curves.through(along, time, "spline").derivative(2)
    # Natural: no force at the ends; the least of all is below that of the parabola through the three.
    np.testing.assert_allclose([bent(0.0).item(), bent(3.0).item()], 0, atol=1e-12)
    fine = np.linspace(0, 3, 3001)
    parabola = np.polyfit(time, along[:, 0, 0], 2)
    assert np.mean(bent(fine) ** 2) < 0.9 * (2 * parabola[0]) ** 2


@pytest.mark.parametrize("curve", ["linear", "spline"])
def test_each_curve_at_a_time_of_its_own(curve):
    rng, time = np.random.default_rng(0), np.array([0.0, 1.0, 3.0])
    paths = curves.through(rng.normal(size=(3, 5, 2)), time, curve)
    t = rng.uniform(1, 3, size=5)
    expected = [paths(moment)[n] for n, moment in enumerate(t)]
    np.testing.assert_allclose(curves.at(paths, 1, t), expected, atol=1e-12)
    slope = paths.derivative()
    expected = [slope(moment)[n] for n, moment in enumerate(t)]
    np.testing.assert_allclose(curves.at(slope, 1, t), expected, atol=1e-12)
