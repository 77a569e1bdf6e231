"""Coupled pairs: where the gradient is taken, what it should be, and in which units."""

from __future__ import annotations

import numpy as np
import pytest

from clouds import followed, observed, poisoned
from jko import couplings, pairs
from jko.pairs import Pairs

DATA = observed()
COUPLED = couplings.couple_snapshots(DATA, {"kind": "exact"}, lambda line: None)


@pytest.mark.parametrize("scheme", ["explicit", "implicit"])
def test_under_a_quadratic_potential_the_wanted_gradient_is_the_gradient(scheme):
    """V = a |x|^2 / 2, moved by the scheme's own step: the target is a times the point."""
    a, tau = 1.5, 0.2
    factor = {"explicit": 1 - tau * a, "implicit": 1 / (1 + tau * a)}[scheme]
    data, coupling = followed(lambda x, k: factor * x, n=20, steps=3, tau=tau, seeds=(0, 1))
    for s in (0, 1):
        found = pairs.coupled_pairs(data, coupling, s, scheme, np.float64)
        np.testing.assert_allclose(found.target, a * found.x, rtol=1e-9, atol=1e-12)
        first = 0 if scheme == "explicit" else 1
        np.testing.assert_allclose(found.t, np.repeat(tau * np.arange(first, first + 3), 20))
        np.testing.assert_allclose(found.weight, 1)
        clouds = [data.cloud(s, "train", k) for k in range(first, first + 3)]
        np.testing.assert_array_equal(found.x, np.concatenate(clouds))


def test_every_interval_has_the_same_weight_and_the_mean_is_one():
    for s in (0, 1):
        found = pairs.coupled_pairs(DATA, COUPLED, s, "explicit", np.float64)
        assert len(set(np.bincount(COUPLED.k[COUPLED.s == s]))) == 2
        np.testing.assert_allclose(found.weight.mean(), 1)
        sums = [found.weight[found.t == t].sum() for t in DATA.time[:-1]]
        np.testing.assert_allclose(sums, sums[0])


def test_unequal_gaps_divide_each_interval_by_its_own_tau():
    found = pairs.coupled_pairs(DATA, COUPLED, 0, "explicit", np.float64)
    here = COUPLED.s == 0
    moved = DATA.x[COUPLED.j[here]] - DATA.x[COUPLED.i[here]]
    tau = np.where(COUPLED.k[here] == 0, 0.5, 0.75)
    np.testing.assert_allclose(found.target, -moved / tau[:, None])


@pytest.mark.parametrize("curve", ["linear", "spline"])
def test_points_of_a_flow_lie_on_the_way_and_move_with_it(curve):
    tau, drift = 0.2, np.array([3.0, -1.0])
    data, coupling = followed(lambda x, k: x + tau * drift, n=20, steps=3, tau=tau, seeds=(0, 1))
    for s in (0, 1):
        found = pairs.curve_pairs(data, coupling, s, curve, np.float64)
        np.testing.assert_allclose(found.target, np.broadcast_to(-drift, (120, 2)), atol=1e-9)
        np.testing.assert_allclose(found.weight, 1)
        start = {tuple(row) for row in data.cloud(s, "train", 0).round(6)}
        assert {tuple(row) for row in (found.x - found.t[:, None] * drift).round(6)} == start
        # One time in each of the three intervals for each of the 20 particles at both of its ends.
        np.testing.assert_array_equal(np.bincount((found.t / tau).astype(int)), 40)


def test_every_interval_of_a_flow_has_the_same_weight_and_about_as_many_points_as_pairs():
    found = pairs.curve_pairs(DATA, COUPLED, 0, "spline", np.float64)
    interval = np.searchsorted(DATA.time, found.t) - 1
    count = np.bincount(COUPLED.k[COUPLED.s == 0])
    # An exact plan of n and m particles has n + m - 1 pairs.
    np.testing.assert_array_equal(np.bincount(interval), count + 1)
    np.testing.assert_allclose(np.bincount(interval, found.weight), found.weight.sum() / 2)
    np.testing.assert_allclose(found.weight.mean(), 1)


def test_a_coupling_with_a_test_row_is_refused():
    row = DATA.rows(1, "test", 0)[0]
    i = COUPLED.i.copy()
    i[np.flatnonzero(COUPLED.s == 1)[0]] = row
    with pytest.raises(
        ValueError, match="the coupling of seed 1 holds rows that are not train rows"
    ):
        pairs.coupled_pairs(DATA, COUPLED._replace(i=i), 1, "implicit")
    pairs.coupled_pairs(DATA, COUPLED._replace(i=i), 0, "implicit")
    with pytest.raises(
        ValueError, match="the coupling of seed 1 holds rows that are not train rows"
    ):
        pairs.curve_pairs(DATA, COUPLED._replace(i=i), 1, "spline")


def test_test_rows_change_no_pair():
    data = observed(seeds=(0,))
    rows = couplings.couple_snapshots(data, {"kind": "exact"}, lambda line: None)
    for scheme in ("explicit", "implicit"):
        before = pairs.coupled_pairs(data, rows, 0, scheme)
        after = pairs.coupled_pairs(poisoned(data), rows, 0, scheme)
        for one, other in zip(before, after, strict=True):
            assert one.tobytes() == other.tobytes()


def test_standardised_pairs_have_unit_spread_unit_speed_and_unit_time():
    found = pairs.coupled_pairs(DATA, COUPLED, 0, "implicit", np.float64)
    units = pairs.units_of(found, DATA.time)
    inside = pairs.in_units(found, units)
    mass = found.weight / found.weight.sum()
    np.testing.assert_allclose(mass @ inside.x, 0, atol=1e-6)
    np.testing.assert_allclose(np.mean(mass @ inside.x**2), 1, rtol=1e-5)
    np.testing.assert_allclose(np.mean(mass @ inside.target**2), 1, rtol=1e-5)
    # Implicit pairs stand at the end of their interval; times are in deviations from their mean.
    expected = (DATA.time[1:] - DATA.time.mean()) / DATA.time.std()
    np.testing.assert_allclose(np.unique(inside.t), expected, rtol=1e-5)


def test_the_standardised_gradient_is_that_of_the_potential_in_its_units():
    """V(x) = scale U((x - center) / width) for U in standardised units, by the chain rule."""
    found = pairs.coupled_pairs(DATA, COUPLED, 0, "explicit", np.float64)
    units = pairs.units_of(found, DATA.time)
    inside = pairs.in_units(found, units)
    np.testing.assert_allclose(
        inside.target * units["scale"] / units["width"], found.target, rtol=1e-6
    )
    z, t = pairs.standardise(units, found.x[3], found.t[3])
    np.testing.assert_allclose(z, inside.x[3], rtol=1e-6)
    np.testing.assert_allclose(t, inside.t[3], rtol=1e-6)


def test_a_population_that_stands_still_has_finite_units():
    rest = Pairs(np.eye(3), np.zeros(3), np.zeros((3, 3)), np.ones(3))
    units = pairs.units_of(rest, np.array([0.0, 1.0]))
    assert all(np.isfinite(value).all() for value in units.values()) and units["scale"] > 0
    np.testing.assert_array_equal(pairs.in_units(rest, units).target, 0)


@pytest.mark.parametrize("scheme", ["explicit", "implicit"])
def test_the_point_of_a_pair_is_found_among_the_train_particles_of_its_snapshot(scheme):
    for s in (0, 1):
        found = pairs.coupled_pairs(DATA, COUPLED, s, scheme, np.float64)
        k, place = pairs.places(DATA, COUPLED, s, scheme)
        np.testing.assert_array_equal(DATA.time[k], found.t)
        points = [DATA.cloud(s, "train", q)[p] for q, p in zip(k, place, strict=True)]
        np.testing.assert_array_equal(points, found.x)


def test_clouds_hold_the_train_particles_in_the_units_of_the_pairs():
    columns = [pairs.coupled_pairs(DATA, COUPLED, s, "implicit") for s in (0, 1)]
    units = [pairs.units_of(column, DATA.time) for column in columns]
    clouds = pairs.train_clouds(DATA, units)
    assert clouds.x.shape == (2, 3, 21, 2) and clouds.x.dtype == np.float32
    np.testing.assert_array_equal(clouds.size, [[18, 14, 21]] * 2)
    for s in (0, 1):
        k, place = pairs.places(DATA, COUPLED, s, "implicit")
        inside = pairs.in_units(columns[s], units[s])
        # To the bit: a particle's difference from itself must be zero.
        np.testing.assert_array_equal(clouds.x[s, k, place], inside.x)
        np.testing.assert_array_equal(clouds.x[s, 1, 14:], 0)
        back = clouds.x[s, 0, :18] * units[s]["width"] + units[s]["center"]
        np.testing.assert_allclose(back, DATA.cloud(s, "train", 0), rtol=1e-5, atol=1e-5)
