"""JKOnet*: energies that must be found, the condition that its terms share, and the partners of W."""

from __future__ import annotations

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from clouds import followed, observed
from jko import methods, neural, prediction
from jko.densities import SnapshotMixtures
from jko.energies import Energy, static
from jko.methods import Problem, jkonet_star
from jko.pairs import Clouds, coupled_pairs, train_clouds
from jko.snapshots import Snapshots
from learning import (
    ALL,
    LEARNING,
    UNITS,
    assert_same,
    bowl,
    bowl_steps,
    energies_of,
    fit,
    l2_uvps,
    nets_of,
    on_the_condition,
    relative_error,
    settings_of,
)


@pytest.mark.parametrize("scheme", ["explicit", "implicit"])
@pytest.mark.parametrize("kind", ["jkonet_star", "jkonet_star_linear"])
def test_a_quadratic_potential_is_found_with_the_scheme_that_moved_the_data(kind, scheme):
    tau = 0.2
    data, coupling = followed(bowl_steps(scheme, tau), tau=tau)
    changes = LEARNING if kind == "jkonet_star" else {}
    settings = settings_of(kind, scheme=scheme, **changes)
    energy = energies_of(fit(Problem(data, coupling), settings), settings)[0]
    # The error of V = 0 is some hundred times the bound; the other scheme's error is above it.
    assert max(l2_uvps(energy, bowl, data, scheme)) < 0.02
    zero = min(l2_uvps(Energy(static(lambda x: jnp.zeros(()))), bowl, data, scheme))
    assert zero > 2
    other = {"explicit": "implicit", "implicit": "explicit"}[scheme]
    if kind == "jkonet_star_linear":
        wrong = settings | {"scheme": other}
        energy = energies_of(fit(Problem(data, coupling), wrong), wrong)[0]
        assert min(l2_uvps(energy, bowl, data, other)) > 0.02


def test_a_time_varying_potential_finds_a_drift_for_each_interval():
    """First towards +1, then towards -1: no static potential does both."""
    tau, goals = 0.2, (1.0, -1.0)
    data, coupling = followed(lambda x, k: x + tau * (goals[min(k, 1)] - x), tau=tau)
    settings = settings_of("jkonet_star", scheme="explicit", time_varying=True, **LEARNING)
    energy = energies_of(fit(Problem(data, coupling), settings), settings)[0]
    drift = jax.vmap(lambda x, t: -jax.grad(energy.potential)(x, t), in_axes=(0, None))
    for k in (0, 1):
        cloud = data.cloud(0, "test", k)
        found = drift(jnp.asarray(cloud, jnp.float32), jnp.float32(data.time[k]))
        error = np.mean(np.sum((np.asarray(found) - (goals[k] - cloud)) ** 2, axis=1))
        assert error < 0.02 * np.mean(np.sum((goals[k] - cloud) ** 2, axis=1))


def test_the_flow_finds_a_drift_between_the_snapshots():
    """All particles on one arc (t, sin t), seen at five times: the drift is its velocity at any time."""
    tau = 0.6

    def along(x, k):
        return x + [tau, np.sin((k + 1) * tau) - np.sin(k * tau)]

    data, coupling = followed(along, tau=tau, steps=4, n=100)
    settings = settings_of("jkonet_star", scheme="flow", time_varying=True, **LEARNING)
    energy = energies_of(fit(Problem(data, coupling), settings), settings)[0]
    cloud = jnp.asarray(data.cloud(0, "test", 1), jnp.float32)
    for t in (0.65, 0.9, 1.15):
        drift = jax.vmap(lambda x, t=jnp.float32(t): -jax.grad(energy.potential)(x, t))(cloud)
        np.testing.assert_allclose(np.mean(drift, axis=0), [1.0, np.cos(t)], atol=0.05)


def test_the_flow_learns_from_the_curve_of_its_settings():
    data, coupling = followed(lambda x, k: x + [1.0, k], steps=3, n=40)
    velocities = {}
    for curve in ("linear", "spline"):
        settings = settings_of("jkonet_star", scheme="flow", curve=curve)
        found = jkonet_star.pairs_of(Problem(data, coupling), settings, 0).target
        velocities[curve] = len(np.unique(found[:, 1].round(2)))
    # A polygon has one velocity in each of the three intervals.
    assert velocities["linear"] == 3 and velocities["spline"] > 30


def test_the_flow_of_more_than_a_potential_is_refused():
    settings = settings_of("jkonet_star", scheme="flow", terms=["potential", "interaction"])
    with pytest.raises(ValueError, match="the scheme flow learns the potential alone"):
        fit(Problem(observed()), settings)


@pytest.mark.parametrize("kind", ["jkonet_star", "jkonet_star_linear"])
def test_units_of_length_and_time_change_no_prediction(kind):
    """Lengths around another origin and times, both in other units: the same particles."""
    length, origin, duration, tau = 250.0, 40.0, 16.0, 0.2
    data, coupling = followed(bowl_steps("implicit", tau), tau=tau, n=60)
    other = Snapshots(
        data.x * length + origin,
        data.snapshot,
        data.time * duration,
        data.seed,
        data.train,
        data.test,
    )
    settings = settings_of(kind, epochs=20) if kind == "jkonet_star" else settings_of(kind)
    predicted = []
    for snapshots in (data, other):
        energy = energies_of(fit(Problem(snapshots, coupling), settings), settings)[0]
        found = prediction.predict(energy, snapshots, 0, "implicit")
        ahead = found["one_step", "implicit"] + found["one_step", "explicit"]
        predicted.append(np.concatenate(ahead))
    moved = np.std(predicted[0] - np.tile(np.concatenate(data.clouds(0, "test")[:-1]), (2, 1)))
    np.testing.assert_allclose((predicted[1] - origin) / length, predicted[0], atol=0.01 * moved)


def conditions(scheme: str, n: int = 12) -> tuple[jkonet_star.Rows, Clouds, np.ndarray]:
    """Rows and clouds in ``UNITS``, and for each row the other particles
    (n - 1, d) of its snapshot.
    """
    problem = on_the_condition(scheme, n)
    pairs = coupled_pairs(problem.snapshots, problem.coupling, 0, scheme)
    rows = jkonet_star.rows_of(problem, ALL | {"scheme": scheme}, 0, pairs, UNITS)
    x, size = (column[0] for column in train_clouds(problem.snapshots, [UNITS]))
    others = [np.delete(x[k], i, axis=0) for k, i in zip(rows.k, rows.place, strict=True)]
    return rows, jax.tree.map(jnp.asarray, Clouds(x, size)), np.stack(others)


def twice(others):
    """The same set of partners in both places."""
    return np.stack([others, others], axis=-3)


squares = jax.jit(jax.vmap(jkonet_star.square, in_axes=(None, 0, 0)))


@pytest.mark.parametrize("scheme", ["explicit", "implicit"])
def test_the_true_energy_of_all_terms_has_no_loss(scheme):
    nets = nets_of(3)
    rows, _, others = conditions(scheme)
    sets = twice(others)
    assert np.max(squares(nets, rows, sets)) < 1e-8
    # Every term counts: with another V, W or beta the condition is broken.
    for term, other in nets_of(4).items():
        changed = nets | {term: other if term != "entropy" else nets[term] + 0.5}
        assert np.mean(squares(changed, rows, sets)) > 1e-4, term


def test_two_sets_of_partners_give_the_square_of_the_mean_and_one_set_the_variance_on_top():
    """All draws of two sets of two partners out of four, one after the other."""
    rows, _, others = conditions("explicit", n=5)
    nets, row, others = nets_of(4), jax.tree.map(lambda leaf: leaf[2], rows), others[2]
    draws = np.array(list(itertools.product(range(4), repeat=4))).reshape(-1, 2, 2)
    over = jax.jit(jax.vmap(jkonet_star.square, in_axes=(None, None, 0)))
    full = float(over(nets, row, twice(others)[None])[0])
    assert np.mean(over(nets, row, others[draws])) == pytest.approx(full, rel=1e-4)
    excess = np.mean(over(nets, row, twice(others[draws[:, 0]]))) - full
    pulls = jax.jit(jax.vmap(jax.grad(neural.w, argnums=1), in_axes=(None, 0)))
    variance = np.var(np.asarray(pulls(nets, row.pairs.x - others)), axis=0).sum()
    assert excess == pytest.approx(variance / 2, rel=1e-3) and excess > 1e-3 * full


@pytest.mark.parametrize(("k", "place"), [(0, 0), (0, 4), (1, 1), (1, 2)])
def test_partners_are_all_others_of_the_snapshot_alike_and_independent(k, place):
    x = jnp.arange(10.0).reshape(2, 5, 1)
    clouds, size = Clouds(x, jnp.array([5, 3])), [5, 3][k]
    row = jkonet_star.Rows(None, jnp.int32(k), jnp.int32(place))
    draws = 20_000
    sets = np.asarray(jkonet_star.draw(clouds, row, jax.random.key(1), draws))
    assert sets.shape == (2, draws, 1)
    # Counts of each pair of a first and a second partner.
    met, counts = np.unique(sets[:, :, 0].T, axis=0, return_counts=True)
    others = [5 * k + i for i in range(size) if i != place]
    np.testing.assert_array_equal(met, list(itertools.product(others, repeat=2)))
    expected = draws / len(others) ** 2
    assert np.max(np.abs(counts - expected)) < 5 * np.sqrt(expected)


def test_the_mean_loss_over_many_draws_is_the_loss_with_whole_snapshots():
    rows, clouds, others = conditions("explicit", n=5)
    weight = np.arange(10, dtype=np.float32) / 4.5
    rows, nets = rows._replace(pairs=rows.pairs._replace(weight=weight)), nets_of(4)
    rows = jax.tree.map(jnp.asarray, rows)
    full = np.mean(weight * squares(nets, rows, twice(others)))
    draw = jax.vmap(lambda key: jkonet_star.loss(nets, rows, clouds, key, partners=2))
    found = np.asarray(jax.jit(draw)(jax.random.split(jax.random.key(0), 4000)))
    error = found.std() / np.sqrt(len(found))
    assert abs(found.mean() - full) < 4 * error < 0.05 * full


def test_a_potential_alone_asks_for_no_snapshot_and_no_score():
    problem = on_the_condition("implicit")
    pairs = coupled_pairs(problem.snapshots, problem.coupling, 0, "implicit")
    settings = settings_of("jkonet_star")
    rows = jkonet_star.rows_of(problem._replace(density=None), settings, 0, pairs, UNITS)
    assert rows[1:] == (None, None, None)


@pytest.mark.parametrize("kind", ["jkonet_star", "jkonet_star_linear"])
def test_an_entropy_without_a_density_is_refused(kind):
    problem = on_the_condition("implicit")._replace(density=None)
    sentence = f"terms of {kind} hold entropy, .* setting density must name an entry"
    with pytest.raises(ValueError, match=sentence):
        fit(problem, settings_of(kind, terms=["potential", "entropy"]))


def test_a_file_gives_back_an_energy_of_all_terms(tmp_path):
    settings = settings_of("jkonet_star", **ALL)
    params = {"nets": nets_of(3), "units": UNITS}
    fitted = methods.Fit(jax.tree.map(lambda leaf: leaf[None], params), ["ok"], None)
    methods.save(fitted, np.array([0]), tmp_path / "fit.msgpack")
    found = methods.load(tmp_path / "fit.msgpack", settings)[0][0].energy
    assert_same(found, neural.energy(params))


def test_potential_and_beta_are_found_from_gaussians():
    """V = (x - 3)^2 / 2 and beta: the implicit step of N(m, s^2)
    has s' (1 + tau) - tau beta / s' = s.
    """
    tau, beta, steps = 0.4, 0.5, 3
    mean, std = [0.0], [1.0]
    for _ in range(steps + 1):
        mean.append((mean[-1] + 3 * tau) / (1 + tau))
        std.append((std[-1] + np.sqrt(std[-1] ** 2 + 4 * (1 + tau) * tau * beta)) / (2 + 2 * tau))
    data, coupling = followed(
        lambda x, k: mean[k + 1] + std[k + 1] / std[k] * (x - mean[k]), d=1, steps=steps, tau=tau
    )
    mean, variance = (np.array(column[: steps + 1]) for column in (mean, np.square(std)))
    shape = (1, steps + 1, 1, 1)
    density = SnapshotMixtures(
        data.seed, data.time, np.ones(shape[:3]), mean.reshape(shape), variance.reshape(*shape, 1)
    )
    settings = settings_of("jkonet_star", terms=["potential", "entropy"], **LEARNING)
    energy = energies_of(fit(Problem(data, coupling, density), settings), settings)[0]
    points = np.concatenate(data.clouds(0, "test")[1:])
    potential = functools.partial(energy.potential, t=jnp.float32(0))
    assert relative_error(potential, lambda x: x - 3, points) < 0.01
    assert energy.beta == pytest.approx(beta, rel=0.03) and energy.interaction is None


def test_potential_and_interaction_are_found_from_a_population_whose_mean_moves():
    """V = (x - 3)^2 / 2 and W = -z^2 / 2 keep the spread: only the mean
    tells one from the other.
    """
    tau, n = 0.4, 100
    pull = -n / (n - 1)  # the mean over the others of W'(x - y), per distance of x from the mean

    def step(x, k):
        mean = (x[:n].mean() + 3 * tau) / (1 + tau)
        return (x + tau * (3 + pull * mean)) / (1 + tau * (1 + pull))

    data, coupling = followed(step, d=1, n=n, steps=4, tau=tau)
    changes = LEARNING | {"batch": 50, "terms": ["potential", "interaction"], "partners": 2}
    settings = settings_of("jkonet_star", **changes)
    energy = energies_of(fit(Problem(data, coupling), settings), settings)[0]
    clouds = data.clouds(0, "test")
    potential = functools.partial(energy.potential, t=jnp.float32(0))
    assert relative_error(potential, lambda x: x - 3, np.concatenate(clouds[1:])) < 0.01
    apart = clouds[1] - np.roll(clouds[1], 1, axis=0)
    assert relative_error(energy.interaction, lambda z: -z, apart) < 0.05
    assert energy.beta == 0
