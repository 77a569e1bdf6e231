"""Snapshots held out: known motions are predicted exactly, and every reference is what its name says."""

from __future__ import annotations

import numpy as np
import pytest

import jax.numpy as jnp
from jax.tree_util import Partial

from jko import held_out, snapshots
from jko.couplings import couple_snapshots
from jko.energies import Energy, static
from jko.metrics import w1, w2
from jko.snapshots import HeldOut, Snapshots

# The third snapshot, at 1.75, is held out: three quarters into the gap from 1 to 2.
TIMES, APART = [0.0, 1.0, 1.75, 2.0], 1.75
DRIFT = np.array([3.0, -1.0])


def drifting(sizes=(40, 60, 50, 50)) -> Snapshots:
    """One cloud that moves by DRIFT per time."""
    rng = np.random.default_rng(1)
    clouds = [rng.normal(size=(n, 2)) + t * DRIFT for n, t in zip(sizes, TIMES, strict=True)]
    x, time = np.concatenate(clouds), np.repeat(TIMES, sizes)
    return snapshots.split(x, time, (3, 8), 0.8, held_out=APART)


def tilted(x):
    return -x @ jnp.asarray(DRIFT, x.dtype)


def tilted_in_time(x, t):
    return t * tilted(x)


def test_the_snapshot_held_out_is_in_neither_part():
    data = drifting()
    assert data.time.tolist() == [0.0, 1.0, 2.0] and data.tau.tolist() == [1.0, 1.0]
    assert len(data.x) == 150 and (data.train ^ data.test).all()
    assert data.held_out.time == APART and len(data.held_out.x) == 50
    assert not set(map(tuple, data.held_out.x)) & set(map(tuple, data.x))
    assert held_out.interval(data) == 1 and held_out.share(data) == 0.75


def test_the_others_are_split_as_they_are_without_it():
    data, rng = drifting(), np.random.default_rng(1)
    clouds = [rng.normal(size=(n, 2)) + t * DRIFT for n, t in zip((40, 60, 50, 50), TIMES)]
    kept = [clouds[0], clouds[1], clouds[3]]
    alone = snapshots.split(
        np.concatenate(kept), np.repeat([0.0, 1.0, 2.0], (40, 60, 50)), (3, 8), 0.8
    )
    np.testing.assert_array_equal(data.x, alone.x)
    np.testing.assert_array_equal(data.train, alone.train)


@pytest.mark.parametrize("time", [0.0, 2.0, 1.5])
def test_only_an_inner_snapshot_can_be_held_out(time):
    with pytest.raises(ValueError, match=rf"held_out is {time:g}; it must be .*\[1.0, 1.75\]"):
        snapshots.split(np.zeros((8, 1)), np.repeat(TIMES, 2), (0,), 0.5, held_out=time)


@pytest.mark.parametrize(
    ("apart", "message"),
    [
        (HeldOut(np.zeros((5, 2)), 2.5), "held-out time 2.5 must lie between"),
        (HeldOut(np.zeros((5, 2)), 1.0), "held-out time 1 must lie between"),
        (HeldOut(np.zeros((5, 3)), 1.5), r"held-out particles have shape \(5, 3\)"),
        (HeldOut(np.full((5, 2), np.nan), 1.5), "not all finite"),
    ],
)
def test_a_broken_promise_of_the_snapshot_held_out_is_named(apart, message):
    data = drifting()
    with pytest.raises(ValueError, match=message):
        snapshots.Snapshots(
            data.x, data.snapshot, data.time, data.seed, data.train, data.test, held_out=apart
        )


def test_a_file_gives_it_back(tmp_path):
    data = drifting()
    snapshots.save(data, tmp_path / "snapshots.npz")
    back = snapshots.load(tmp_path / "snapshots.npz")
    assert back.held_out.time == APART
    np.testing.assert_array_equal(back.held_out.x, data.held_out.x)


@pytest.mark.parametrize("scheme", ["explicit", "implicit", "flow"])
def test_a_step_of_the_energy_goes_the_share_of_the_way(scheme):
    data = drifting()
    found = held_out.predict(Energy(static(tilted)), data, 0, scheme)
    assert list(found) == [scheme]
    np.testing.assert_allclose(found[scheme], data.cloud(0, "train", 1) + 0.75 * DRIFT, atol=1e-5)


@pytest.mark.parametrize(("scheme", "time"), [("explicit", 1.0), ("implicit", 2.0)])
def test_a_potential_in_time_is_held_where_it_was_learned(scheme, time):
    data = drifting()
    found = held_out.predict(Energy(Partial(tilted_in_time)), data, 1, scheme)[scheme]
    np.testing.assert_allclose(
        found - data.cloud(1, "train", 1), 0.75 * time * DRIFT + 0 * found, atol=1e-5
    )


def test_the_flow_takes_a_potential_in_time_as_time_goes():
    data = drifting()
    found = held_out.predict(Energy(Partial(tilted_in_time)), data, 1, "flow")["flow"]
    # The integral of t from 1 to 1.75, by 25 Euler steps, each of which takes it at its start.
    way = 0.75 * (1 + 0.75 / 2 * 24 / 25)
    np.testing.assert_allclose(found, data.cloud(1, "train", 1) + way * DRIFT, atol=1e-5)


def test_a_map_goes_the_share_of_the_way_on_straight_lines():
    data = drifting()

    def there(x, k):
        return x + k.astype(x.dtype) * jnp.asarray(2 * DRIFT, x.dtype)

    found = held_out.predict(Energy(static(tilted)), data, 0, "implicit", Partial(there))
    np.testing.assert_allclose(found["map"], data.cloud(0, "train", 1) + 1.5 * DRIFT, atol=1e-5)


def test_errors_are_to_all_particles_held_out_and_a_failure_is_a_reason():
    data = drifting()
    cloud = data.held_out.x + DRIFT
    rows = list(
        held_out.evaluate_fit(
            data, [{"explicit": cloud}, None], ["ok", "diverged"], "explicit", "m"
        )
    )
    assert [(row.seed, row.metric, row.mode, row.time) for row in rows] == [
        (seed, metric, "held_out", APART) for seed in (3, 8) for metric in ("w1", "w2")
    ]
    # A translation costs its length, whatever the order.
    length = np.linalg.norm(DRIFT)
    np.testing.assert_allclose([row.value for row in rows[:2]], length)
    assert np.isnan([row.value for row in rows[2:]]).all()
    assert [row.reason for row in rows[2:]] == ["diverged"] * 2


def test_a_prediction_that_runs_away_is_a_reason():
    data = drifting()
    rows = list(
        held_out.evaluate_fit(data, [{"map": data.held_out.x * np.inf}] * 2, ["ok"] * 2, "map", "m")
    )
    assert {row.reason for row in rows} == {"the prediction is not finite"}


def test_references_are_what_their_names_say():
    data = drifting((400, 400, 400, 400))
    coupling = couple_snapshots(data, {"kind": "exact"}, lambda line: None)
    rows = {
        (row.method, row.metric): row.value
        for row in held_out.evaluate_references(data, coupling)
        if row.seed == 3
    }
    length, truth = np.linalg.norm(DRIFT), data.held_out.x
    before, after = data.cloud(0, "train", 1), data.cloud(0, "train", 2)
    assert rows["identity", "w2"] == w2(before, truth)
    moved = before + 0.75 * (after.mean(axis=0) - before.mean(axis=0))
    assert rows["mean_shift", "w1"] == w1(moved, truth)
    # What moves as one is found by a shift and by a displacement, up to the noise of 400 particles.
    noise = 0.35
    for name in ("mean_shift", "displacement", "transport_spline", "split_half"):
        assert rows[name, "w1"] < noise
    np.testing.assert_allclose(rows["identity", "w1"], 0.75 * length, rtol=0.1)
    # A mixture has the right mean and is too wide.
    assert rows["displacement", "w1"] < rows["mixture", "w1"] < rows["identity", "w1"]


def test_splines_follow_a_bend_and_a_centred_cloud_has_the_true_mean():
    """One cloud along (t, t^2), of which the chord at the middle is a quarter away, and a cubic nothing."""
    rng, times = np.random.default_rng(0), np.array([0.0, 1.0, 1.5, 2.0, 3.0])
    start = rng.normal(size=(60, 2))
    x = np.concatenate([start + [t, t**2] for t in times])
    data = snapshots.split(x, np.repeat(times, 60), (0,), 0.9, held_out=1.5)
    coupling = couple_snapshots(data, {"kind": "exact"}, lambda line: None)
    rows = {
        (row.method, row.metric): row.value for row in held_out.evaluate_references(data, coupling)
    }
    # W2^2 is the square of the distance of the means and what the shapes differ in, which centring leaves.
    shape = rows["centred_displacement", "w2"] ** 2
    mean = data.cloud(0, "train", 1).mean(axis=0) + data.cloud(0, "train", 2).mean(axis=0)
    away = np.sum((mean / 2 - data.held_out.x.mean(axis=0)) ** 2)
    assert away > 0.05
    np.testing.assert_allclose(rows["displacement", "w2"] ** 2, shape + away, rtol=0.05)
    assert rows["transport_spline", "w2"] < 0.7 * rows["displacement", "w2"]


def test_a_mixture_has_the_share_of_both():
    rng = np.random.default_rng(0)
    x, y = np.zeros((100, 1)), np.ones((60, 1))
    cloud = held_out.mixture(x, y, 0.75, rng)
    assert len(cloud) == 80 and cloud.mean() == 0.75


def test_without_one_there_is_nothing_to_predict():
    data = snapshots.split(np.zeros((16, 1)), np.repeat(TIMES, 4), (0,), 0.5)
    with pytest.raises(ValueError, match="no snapshot is held out"):
        held_out.interval(data)
