"""Predictions against closed forms, whatever the size of a cloud; grids, forecasts and files."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from clouds import observed
from jko import prediction
from jko.energies import Energy, static
from jko.kernels import KERNELS
from jko.solvers import step

DATA = observed()
FACTOR = {"explicit": 1 - 0.5 * 0.8, "implicit": 1 / (1 + 0.5 * 0.8)}


def bowl(x):
    """0.4 |x|^2, whose gradient is 0.8 x."""
    return 0.4 * jnp.sum(x**2)


BOWL = Energy(static(bowl))


@pytest.mark.parametrize("scheme", ["explicit", "implicit"])
@pytest.mark.parametrize("n", [1, 7, 8, 9])
def test_one_step_of_a_cloud_of_any_size_is_the_closed_form(scheme, n):
    cloud = np.random.default_rng(n).normal(size=(n, 2))
    moved = prediction.one_step(BOWL, cloud, 0.0, 0.5, scheme, seed=0)
    assert moved.shape == (n, 2) and moved.dtype == np.float64
    np.testing.assert_allclose(moved, FACTOR[scheme] * cloud, rtol=1e-5, atol=1e-6)


def test_filling_rows_do_not_attract():
    """With an interaction the mean is over the n particles and no others."""
    energy = Energy(static(lambda x: jnp.zeros(())), Partial(KERNELS["quadratic"]))
    cloud = np.random.default_rng(0).normal(size=(5, 2))
    moved = prediction.one_step(energy, cloud, 0.0, 0.5, "explicit", seed=0)
    np.testing.assert_allclose(
        moved, cloud - 0.5 * (cloud - cloud.mean(axis=0)), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("scheme", ["explicit", "implicit"])
def test_a_rollout_takes_one_step_per_interval_at_its_own_time(scheme):
    """V = t x_1: the push is the time at the start of a step, or at its end."""
    energy = Energy(Partial(lambda x, t: t * x[0]))
    time, cloud = np.array([1.0, 1.5, 3.0]), np.zeros((4, 2))
    found = prediction.rollout(energy, cloud, time, scheme, seed=0)
    pushes = {"explicit": [0.5 * 1.0, 1.5 * 1.5], "implicit": [0.5 * 1.5, 1.5 * 3.0]}[scheme]
    for k, clouds in enumerate(found):
        np.testing.assert_allclose(clouds[:, 0], -np.sum(pushes[: k + 1]), rtol=1e-4)
        assert not clouds[:, 1].any()


def test_a_seed_repeats_its_noise_and_its_steps_do_not():
    noisy = Energy(static(lambda x: jnp.zeros(())), None, 0.5)
    cloud = np.zeros((20, 2))
    first, again, other = (
        prediction.rollout(noisy, cloud, np.array([0.0, 1.0, 2.0]), "explicit", seed=seed)
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.any(first[0] == other[0])
    assert not np.any(np.isclose(first[1] - first[0], first[0]))


def test_predictions_start_from_the_test_snapshots():
    found = prediction.predict(BOWL, DATA, 1, "implicit")
    ahead = [("one_step", "explicit"), ("one_step", "implicit")]
    assert list(found) == [*ahead, ("rollout", "implicit")]
    clouds = DATA.clouds(1, "test")
    for mode, scheme in ahead:
        steps = found[mode, scheme]
        for k, tau in enumerate(DATA.tau):
            factor = {"explicit": 1 - tau * 0.8, "implicit": 1 / (1 + tau * 0.8)}[scheme]
            np.testing.assert_allclose(steps[k], factor * clouds[k], rtol=1e-5, atol=1e-6)
    products = np.cumprod(1 / (1 + DATA.tau * 0.8))
    for predicted, factor in zip(found["rollout", "implicit"], products, strict=True):
        np.testing.assert_allclose(predicted, factor * clouds[0], rtol=1e-5, atol=1e-6)


def test_clouds_are_made_when_asked_for_and_once(monkeypatch):
    made, one_step = [], prediction.one_step

    def counted(energy, cloud, t, tau, scheme, *rest):
        made.append(scheme)
        return one_step(energy, cloud, t, tau, scheme, *rest)

    monkeypatch.setattr(prediction, "one_step", counted)
    found, intervals = prediction.predict(BOWL, DATA, 0, "implicit"), len(DATA.tau)
    assert made == []
    assert found["one_step", "explicit"] is found["one_step", "explicit"]
    assert made == ["explicit"] * intervals
    dict(found)
    assert made == ["explicit"] * intervals + ["implicit"] * (2 * intervals - 1)


def moving(x, t):
    return (0.5 + t) * jnp.sum(x**2)


@pytest.mark.parametrize("scheme", ["explicit", "implicit", "flow"])
def test_predictions_go_on_from_the_first_step_as_a_rollout_does(scheme):
    energy = Energy(Partial(moving), None, jnp.float32(0.3))
    found = prediction.predict(energy, DATA, 1, scheme)
    start, seed = DATA.cloud(1, "test", 0), int(DATA.seed[1])
    whole = prediction.rollout(energy, start, DATA.time, scheme, seed)
    assert len(whole) > 1
    for one, other in zip(found["rollout", scheme], whole, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_the_grid_is_indexed_time_row_column_and_the_rest_is_held():
    energy = Energy(Partial(lambda x, t: x[0] + 10 * x[1] + 100 * x[2] + 1000 * t))
    grid_x, grid_y, time = np.array([0.0, 1.0]), np.array([2.0, 3.0]), np.array([0.0, 0.5])
    found = prediction.potential_on_grid(energy, time, grid_x, grid_y, np.array([9.0, 9.0, 4.0]))
    for (k, iy, ix), value in np.ndenumerate(found):
        expected = grid_x[ix] + 10 * grid_y[iy] + 400 + 1000 * time[k]
        assert value == pytest.approx(expected, rel=1e-6)
    line = Energy(static(lambda x: x[0]))
    found = prediction.potential_on_grid(line, time, grid_x, np.zeros(2), np.array([9.0]))
    np.testing.assert_array_equal(found[1], [[0, 1], [0, 1]])


def test_the_file_holds_what_figures_read(tmp_path):
    first = prediction.predict(BOWL, DATA, 0, "implicit")
    path, status = tmp_path / "predictions.npz", ["ok", "diverged at step 512"]
    prediction.save(DATA, [BOWL, None], status, first, "implicit", path, grid=5)
    with np.load(path, allow_pickle=False) as file:
        arrays = dict(file)
    assert arrays["status"].tolist() == status and arrays["seed"].tolist() == [0, 1]
    np.testing.assert_array_equal(arrays["time"], DATA.time)
    low, high = np.quantile(DATA.x, [0.001, 0.999], axis=0)
    for axis, name in enumerate(("grid_x", "grid_y")):
        np.testing.assert_allclose(arrays[name][[0, -1]], [low[axis], high[axis]])
    assert arrays["potential"].shape == (2, 3, 5, 5) and np.isnan(arrays["potential"][1]).all()
    corner = 0.4 * (low[0] ** 2 + high[1] ** 2)
    np.testing.assert_allclose(arrays["potential"][0, :, -1, 0], corner, rtol=1e-5)
    np.testing.assert_array_equal(arrays["rollout_0"], DATA.cloud(0, "test", 0))
    for k in (1, 2):
        ahead, far = first["one_step", "implicit"][k - 1], first["rollout", "implicit"][k - 1]
        np.testing.assert_array_equal(arrays[f"predicted_{k}"], ahead)
        np.testing.assert_array_equal(arrays[f"rollout_{k}"], far)


def test_the_file_of_a_failed_fit_has_no_predictions(tmp_path):
    prediction.save(
        DATA, [None, None], ["diverged at step 3"] * 2, None, "implicit", tmp_path / "p.npz"
    )
    with np.load(tmp_path / "p.npz", allow_pickle=False) as file:
        assert not [name for name in file.files if name.startswith(("predicted", "rollout"))]
        assert np.isnan(file["potential"]).all()


def test_a_forecast_ends_one_interval_beyond_the_last_snapshot():
    found = prediction.forecast(BOWL, DATA, "explicit")
    assert np.unique(found.time).tolist() == [0.5, 1.25, 2.0]
    start, last = (DATA.x[DATA.snapshot == k] for k in (0, 2))
    np.testing.assert_allclose(found.x[found.time == 0.5], 0.6 * start, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.x[found.time == 2.0], 0.4 * last, rtol=1e-5, atol=1e-6)
    assert len(found.x) == 2 * len(start) + len(last)


def test_a_flow_is_measured_by_itself():
    found = prediction.predict(BOWL, DATA, 0, "flow")
    assert list(found) == [("one_step", "flow"), ("rollout", "flow")]
    assert prediction.compared("implicit") == prediction.compared("explicit")


@pytest.mark.parametrize(("scheme", "learned"), [("explicit", 1), ("implicit", 2), ("flow", 2)])
def test_the_step_beyond_holds_the_potential_at_its_last_learned_time(scheme, learned):
    energy = Energy(Partial(lambda x, t: -t * jnp.sum(x)))
    found = prediction.forecast(energy, DATA, scheme)
    last = DATA.x[DATA.snapshot == 2]
    moved = DATA.tau[-1] * DATA.time[learned]
    np.testing.assert_allclose(found.x[found.time == 2.0], last + moved, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("scheme", ["explicit", "implicit", "flow"])
def test_values_and_drifts_stand_at_every_particle_and_its_learned_time(scheme):
    energy = Energy(Partial(lambda x, t: (1 + t) * bowl(x)), Partial(KERNELS["quadratic"]))
    potential, drift = prediction.at_particles(energy, DATA, scheme)
    # Implicit fits know V at the ends of the intervals, explicit ones at the starts, the flow everywhere.
    places = {"implicit": [1, 1, 2], "explicit": [0, 1, 1], "flow": [0, 1, 2]}
    learned = DATA.time[places[scheme]]
    t = learned[DATA.snapshot]
    np.testing.assert_allclose(potential, (1 + t) * 0.4 * np.sum(DATA.x**2, axis=1), rtol=1e-5)
    means = np.array([DATA.x[DATA.snapshot == k].mean(axis=0) for k in range(3)])
    expected = -(1 + t)[:, None] * 0.8 * DATA.x - (DATA.x - means[DATA.snapshot])
    np.testing.assert_allclose(drift, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scheme", ["explicit", "implicit"])
def test_both_schemes_use_the_potential_that_was_learned_for_the_interval(scheme):
    """V(x, t) = c(t) . x has the same step -tau c in both schemes, if c is that of the interval."""
    slopes = {0: 1.0, 1: 10.0, 2: 100.0}
    time = jnp.asarray(DATA.time, jnp.float32)
    speeds = jnp.asarray([slopes[k] for k in range(3)], jnp.float32)
    energy = Energy(Partial(lambda x, t: jnp.interp(t, time, speeds) * jnp.sum(x)))
    found = prediction.predict(energy, DATA, 0, scheme)
    for k, tau in enumerate(DATA.tau):
        speed = slopes[k] if scheme == "explicit" else slopes[k + 1]
        wanted = DATA.cloud(0, "test", k) - tau * speed
        for name in ("explicit", "implicit"):
            np.testing.assert_allclose(found["one_step", name][k], wanted, rtol=1e-4, atol=1e-3)


def test_the_noise_differs_between_seeds_and_intervals():
    numbers = {prediction.noise_seed(seed, k) for seed in range(5) for k in range(5)}
    assert len(numbers) == 25


def test_clouds_of_like_sizes_share_one_compiled_program():
    energy = Energy(Partial(lambda scale, x, t: scale * bowl(x), jnp.float32(1)))
    sizes = []
    for n in (17, 25, 32):
        prediction.one_step(energy, np.zeros((n, 4)), 0.0, 0.1, "explicit", seed=0)
        sizes.append(step._cache_size())
    assert sizes[0] == sizes[1] == sizes[2]
