"""Every method: what it may read, what it leaves, and energies that it must find."""

from __future__ import annotations

import copy
import functools
import itertools
import re
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import yaml
from jax.tree_util import Partial

from clouds import followed, observed, poisoned
from jko import couplings, densities, features, methods, metrics, neural, prediction
from jko.couplings import CoupledRows
from jko.densities import SnapshotMixtures
from jko.energies import Energy, static, velocity
from jko.methods import Problem, jkonet_star, jkonet_star_linear
from jko.pairs import Clouds, Pairs, coupled_pairs, in_units, train_clouds, units_of
from jko.snapshots import Snapshots
from jko.training import seed_keys

SCHEMAS = Path(__file__).parents[1] / "workflow" / "schemas"
# Whatever a method calls its amount of work, a few steps of it serve these tests.
SHORT = {
    "epochs": 3,
    "steps": 6,
    "batch": 20,
    "centers": 10,
    "hidden": [16, 16],
    "map_hidden": [16, 16],
    "partners": 4,
    "inner_steps": 4,
}
KINDS = methods.kinds()
ALL = {"terms": list(neural.TERMS), "time_varying": True}


def entries_of(kind: str) -> dict[str, dict]:
    """The schema's entry of every setting."""
    text = (SCHEMAS / f"method_{kind}.schema.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text)["properties"]


def settings_of(kind: str, **changes) -> dict:
    """The schema's defaults with less work."""
    entries = entries_of(kind)
    defaults = {key: entry["default"] for key, entry in entries.items() if "default" in entry}
    short = {key: value for key, value in SHORT.items() if key in entries}
    return {"kind": kind} | defaults | short | changes


def variants(kind: str) -> dict[str, dict]:
    """A method's first scheme with all that it can learn, and its explicit one, on halves where it can."""
    settings = settings_of(kind)
    everything = {key: value for key, value in ALL.items() if key in settings}
    halves = {"halves": True} if "halves" in settings else {}
    schemes = entries_of(kind)["scheme"]["enum"]
    found = {f"{kind}-{schemes[0]}-everything": settings | {"scheme": schemes[0]} | everything}
    if "explicit" in schemes:
        found[f"{kind}-explicit"] = settings | {"scheme": "explicit"} | halves
    return found


VARIANTS = [pytest.param(s, id=name) for kind in KINDS for name, s in variants(kind).items()]


def problem_of(data: Snapshots) -> Problem:
    """Everything that a method may ask for."""
    coupling = couplings.couple_snapshots(data, {"kind": "exact"}, silent)
    density = densities.fit_mixtures(data, components=2, relative_floor=1e-3, report=silent)
    return Problem(data, coupling, density)


def silent(line: str) -> None:
    """Take a line of progress, and say nothing."""


def fit(problem: Problem, settings: dict) -> methods.Fit:
    return methods.module(settings["kind"]).fit(problem, settings, silent)


def energies_of(fitted: methods.Fit, settings: dict) -> list[Energy]:
    make = methods.module(settings["kind"]).energy
    seeds = range(len(fitted.status))
    return [make(jax.tree.map(lambda leaf, s=s: leaf[s], fitted.params), settings) for s in seeds]


def saved(fitted: methods.Fit, seeds: np.ndarray, path: Path) -> bytes:
    methods.save(fitted, seeds, path)
    return path.read_bytes()


@pytest.fixture(scope="module")
def fits() -> dict[str, tuple]:
    """(settings, problem, fit) of every method's defaults on two seeds of small clouds."""
    problem = problem_of(observed(seeds=(0, 7)))
    return {kind: (settings_of(kind), problem, fit(problem, settings_of(kind))) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_a_fit_names_its_seeds_and_its_energy_is_finite(fits, kind):
    settings, problem, fitted = fits[kind]
    assert fitted.status == ["ok", "ok"]
    assert list(fitted.history.columns[:2]) == ["seed", "epoch"]
    assert sorted(set(fitted.history["seed"])) == [0, 7]
    assert np.isfinite(fitted.history["loss"]).all()
    for energy in energies_of(fitted, settings):
        value, gradient = jax.value_and_grad(energy.potential)(jnp.ones(2), jnp.float32(0.3))
        assert value.shape == () and value.dtype == jnp.float32
        assert np.isfinite(value) and np.isfinite(gradient).all()
        assert energy.interaction is None and energy.beta == 0


def assert_same(one: Energy, other: Energy) -> None:
    """The same functions with the same parameters, to the bit."""
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for leaf, other_leaf in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        assert np.asarray(leaf).dtype == np.asarray(other_leaf).dtype
        np.testing.assert_array_equal(leaf, other_leaf)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_gives_back_the_same_energy_and_status(tmp_path, fits, kind):
    settings, problem, fitted = fits[kind]
    path = tmp_path / "fit.msgpack"
    fitted = fitted._replace(status=["ok", "diverged at step 512"])
    methods.save(fitted, problem.snapshots.seed, path)
    loaded, status = methods.load(path, settings)
    assert status == ["ok", "diverged at step 512"] and loaded[1] is None
    assert_same(loaded[0].energy, energies_of(fitted, settings)[0])


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seeds_give_the_same_bytes(tmp_path, fits, kind):
    settings, problem, fitted = fits[kind]
    seeds = problem.snapshots.seed
    again = fit(problem, settings)
    assert saved(again, seeds, tmp_path / "b") == saved(fitted, seeds, tmp_path / "a")
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(fitted.params)]
    assert any(not np.array_equal(leaf[0], leaf[1]) for leaf in leaves)


@pytest.mark.parametrize("settings", VARIANTS)
def test_no_method_reads_a_test_row(tmp_path, settings):
    data = observed(seeds=(0,))
    wild = poisoned(data)
    assert np.abs(wild.x).max() > 1e3
    clean = saved(fit(problem_of(data), settings), data.seed, tmp_path / "clean")
    assert saved(fit(problem_of(wild), settings), data.seed, tmp_path / "wild") == clean


@pytest.mark.parametrize("kind", KINDS)
def test_data_of_one_seed_that_are_no_numbers_fail_that_seed_only(kind):
    data, coupling = followed(lambda x, k: 0.9 * x + 0.1, n=30, seeds=(0, 7))
    problem = Problem(data, coupling, problem_of(data).density)
    settings = settings_of(kind)
    healthy = fit(problem, settings)
    x = data.x.copy()
    x[data.rows(1, "train", 1)[3]] = np.nan
    # Snapshots refuse such a row; a number that overflows on the way is no less bad.
    broken = copy.copy(data)
    object.__setattr__(broken, "x", x)
    hurt = fit(problem._replace(snapshots=broken), settings)
    assert healthy.status == ["ok", "ok"]
    assert hurt.status[0] == "ok"
    assert re.fullmatch(r"diverged at step \d+|not solved: .* not finite .*", hurt.status[1])
    for one, other in zip(
        jax.tree.leaves(healthy.params), jax.tree.leaves(hurt.params), strict=True
    ):
        np.testing.assert_array_equal(np.asarray(one)[0], np.asarray(other)[0])
    before, after = (
        f.history[f.history["seed"] == 0].to_numpy(dtype=float) for f in (healthy, hurt)
    )
    np.testing.assert_array_equal(before, after)


def test_a_method_that_does_not_exist_is_named():
    sentence = f"method kind is 'gan'; it must be one of {', '.join(KINDS)}"
    with pytest.raises(ValueError, match=sentence):
        methods.module("gan")


def test_a_loss_above_the_limit_fails_the_seed():
    problem = problem_of(observed(seeds=(0,)))
    settings = settings_of("jkonet_star", learning_rate=1e3, clip=1e6, loss_limit=50.0)
    status = fit(problem, settings).status[0]
    assert status.startswith("diverged at step ") and int(status.split()[-1]) > 0


# Potentials that must be found. The coupling follows each particle: only learning is tested.

STIFFNESS = np.array([2.0, 0.5])


def bowl(x):
    return 0.5 * jnp.sum(jnp.array([2.0, 0.5], x.dtype) * (x - 1) ** 2)


def bowl_steps(scheme: str, tau: float):
    """The exact step of the bowl by a scheme."""
    if scheme == "explicit":
        return lambda x, k: x - tau * STIFFNESS * (x - 1)
    return lambda x, k: (x + tau * STIFFNESS) / (1 + tau * STIFFNESS)


def l2_uvps(energy: Energy, truth, data: Snapshots, scheme: str) -> list[float]:
    found = []
    for k, tau in enumerate(data.tau):
        clouds, t = data.clouds(0, "test"), data.time[k if scheme == "explicit" else k + 1]
        found.append(
            metrics.l2_uvp(energy, Energy(static(truth)), clouds[k], clouds[k + 1], t, tau)
        )
    return found


LEARNING = {
    "epochs": 300,
    "batch": 100,
    "hidden": [32, 32],
    "learning_rate": 0.005,
    "schedule": "cosine",
}


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
    for t in (0.9, 1.5):
        moment = jnp.float32(t)
        cloud = data.cloud(0, "test", int(t / tau))
        found = jax.vmap(lambda x: -jax.grad(energy.potential)(x, moment))(
            jnp.asarray(cloud, jnp.float32)
        )
        np.testing.assert_allclose(np.mean(found, axis=0), [1.0, np.cos(t)], atol=0.1)


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
        clouds = prediction.predict(energy, snapshots, 0, "implicit").one_step
        predicted.append(np.concatenate(clouds["implicit"] + clouds["explicit"]))
    moved = np.std(predicted[0] - np.tile(np.concatenate(data.clouds(0, "test")[:-1]), (2, 1)))
    np.testing.assert_allclose((predicted[1] - origin) / length, predicted[0], atol=0.01 * moved)


# The terms of JKOnet*: the condition they share, the partners they are averaged
# over, and what is found.

UNITS = {
    "center": np.array([0.3, -0.2], np.float32),
    "width": np.float32(1.7),
    "scale": np.float32(0.8),
    "time_center": np.float32(0.2),
    "time_width": np.float32(0.3),
}


def nets_of(seed: int) -> dict:
    """Random networks of all terms, with a beta that weighs as much as they do."""
    nets = neural.init(jax.random.key(seed), 2, ALL["terms"], ALL["time_varying"], [8])
    return nets | {"entropy": jnp.float32(0.5)}


@jax.jit
def velocities(energy, mixture, t, train, others):
    score = jax.vmap(densities.score, in_axes=(None, 0))(mixture, train)
    return jax.vmap(velocity, in_axes=(None, 0, None, 0, 0))(energy, train, t, others, score)


def nets_energy() -> Energy:
    return neural.energy({"nets": nets_of(3), "units": UNITS})


@functools.cache
def on_the_condition(
    scheme: str, n: int = 12, make: Callable[[], Energy] = nets_energy, steps: int = 2
) -> Problem:
    """Snapshots whose pairs fulfil the condition of an energy: that of ``nets_of(3)`` in ``UNITS``.

    Each cloud comes from the one at which the scheme takes the gradient, by the velocity
    of the energy: the explicit scheme makes the first one first, the implicit one the last.
    """
    tau, energy = 0.2, make()
    density = densities.fit_mixtures(
        observed((30, 24, 36, 30, 24)[: steps + 1], seeds=(0,)),
        components=2,
        relative_floor=1e-3,
        report=silent,
    )

    def step(cloud, k):
        at = min(k, steps - 1) if scheme == "explicit" else max(steps - k, 1)
        train = cloud[:n].astype(np.float32)
        others = np.stack([np.delete(train, i, axis=0) for i in range(n)])
        moved = velocities(energy, density.mixture(0, at), jnp.float32(tau * at), train, others)
        away = tau * np.asarray(moved) * {"explicit": 1, "implicit": -1}[scheme]
        return np.concatenate([cloud[:n] + away, cloud[n:]])

    data, coupling = followed(step, n=n, tau=tau, steps=steps)
    if scheme == "implicit":
        data = Snapshots(data.x, steps - data.snapshot, data.time, data.seed, data.train, data.test)
        s, k, i, j, weight, cost = coupling
        coupling = CoupledRows(s, steps - 1 - k, j, i, weight, cost)
    return Problem(data, coupling, density)


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


def relative_error(function, gradient, points: np.ndarray) -> float:
    """Mean squared error of a function's gradient at points (n, d), relative
    to the true one's square.
    """
    found = jax.jit(jax.vmap(jax.grad(function)))(jnp.asarray(points, jnp.float32))
    return np.mean((np.asarray(found) - gradient(points)) ** 2) / np.mean(gradient(points) ** 2)


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


# The linear method: its equations, its features and its choices.


def quartic(x):
    """A polynomial of degree four with mixed terms."""
    return 0.1 * x[0] ** 4 + 0.3 * x[0] ** 2 * x[1] - 0.2 * x[0] * x[1] ** 3 + x[1] ** 2 - x[0]


def quartic_pairs(n: int = 150, seed: int = 0) -> Pairs:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 2))
    with jax.enable_x64(True):
        target = np.asarray(jax.vmap(jax.grad(quartic))(jnp.asarray(x)))
    weight = rng.uniform(0.5, 1.5, n)
    return Pairs(x, np.zeros(n), target, weight / weight.mean())


def bases_of(pairs: Pairs, settings: dict) -> dict:
    rows = jkonet_star_linear.Rows(pairs)
    return jkonet_star_linear.bases_of(rows, [], settings, (4.0, None), seed=0)


def numpy_jacobian(basis: dict, z: np.ndarray) -> np.ndarray:
    """(n, m, d) derivatives of the features by central differences in float64."""
    with jax.enable_x64(True):
        phi = jax.vmap(lambda p: features.features(basis, p))
        steps = 1e-5 * np.eye(z.shape[1])
        columns = [
            np.asarray(phi(jnp.asarray(z + e)) - phi(jnp.asarray(z - e))) / 2e-5 for e in steps
        ]
    return np.stack(columns, axis=2)


@pytest.mark.parametrize("ridge", [1e-6, 1e-2])
def test_the_normal_equations_solve_the_ridge_regression_of_numpy(ridge):
    pairs, settings = quartic_pairs(), settings_of("jkonet_star_linear")
    bases = bases_of(pairs, settings)
    found = jkonet_star_linear.quadratic(bases, None, jkonet_star_linear.Rows(pairs))
    jacobian = numpy_jacobian(bases["potential"], pairs.x)
    n, m, d = jacobian.shape
    assert m == 14 + 10
    root = np.sqrt(np.repeat(pairs.weight, d))[:, None]
    rows = root * jacobian.transpose(0, 2, 1).reshape(n * d, m)
    target = root[:, 0] * pairs.target.ravel()
    level = ridge * np.mean(np.sum(rows**2, axis=0))
    augmented = np.concatenate([rows, np.sqrt(level) * np.eye(m)])
    theta = np.linalg.lstsq(augmented, np.append(target, np.zeros(m)))[0]
    np.testing.assert_allclose(found.minimiser([(m, ridge)]), theta, rtol=1e-3, atol=1e-6)
    expected = np.sum((rows @ theta - target) ** 2) / pairs.weight.sum()
    assert found.loss(theta) == pytest.approx(expected, rel=1e-4, abs=1e-9)


def test_blocks_of_pairs_change_no_equation():
    pairs, settings = quartic_pairs(n=1500), settings_of("jkonet_star_linear")
    bases = bases_of(pairs, settings)

    def equations(rows):
        part = jkonet_star_linear.Rows(Pairs(*(column[rows] for column in pairs)))
        return jkonet_star_linear.quadratic(bases, None, part)

    whole = equations(slice(None))
    halves = [equations(rows) for rows in (slice(0, 700), slice(700, None))]
    for one, other in zip(whole, halves[0] + halves[1], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9)


def test_a_polynomial_of_degree_four_is_found_exactly():
    """In standardised units, with the smallest ridge: the error is that of the ridge alone."""
    pairs = quartic_pairs()
    units = units_of(pairs, np.array([0.0, 1.0]))
    settings = settings_of("jkonet_star_linear", ridges=[1e-8, 1e-2])
    lines = []
    rows = jkonet_star_linear.Rows(in_units(pairs, units))
    theta, bases, loss = jkonet_star_linear.solve(rows, [], settings, 0, lines.append)
    assert (
        loss < 1e-8
        and "ridge 1e-08" in lines[0]
        and "14 of them monomials of degree <= 4" in lines[0]
    )
    params = jkonet_star_linear.params_of(theta, bases, units)
    params = jax.tree.map(lambda leaf: jkonet_star_linear._stack((leaf,))[0], params)
    new = jnp.asarray(np.random.default_rng(5).normal(size=(40, 2)), jnp.float32)
    gradient = jax.vmap(jax.grad(lambda x: jkonet_star_linear.potential(params, x, jnp.zeros(()))))(
        new
    )
    expected = np.asarray(jax.vmap(jax.grad(quartic))(new))
    np.testing.assert_allclose(gradient, expected, atol=2e-3 * np.abs(expected).max())


def polynomials(beta: float = 0.4) -> Energy:
    """Terms that the monomials span."""

    def w(z):
        square = jnp.sum(z**2)
        return 0.05 * square**2 - 0.6 * square + 0.3 * z[0] * z[1]

    return Energy(static(quartic), Partial(w), beta)


def slope_of(function):
    """Its gradient at points (n, d)."""
    gradient = jax.vmap(jax.grad(function))
    return lambda points: np.asarray(gradient(jnp.asarray(points, jnp.float32)))


def negative_entropy() -> Energy:
    return polynomials(-0.3)


EXACT = {
    "terms": list(neural.TERMS),
    "centers": 2,
    "bump_widths": [4.0],
    "interaction_waves": 3,
    "interaction_widths": [1.0],
    "ridges": [1e-10],
    "interaction_ridges": [1e-10],
}


@pytest.mark.parametrize("scheme", ["explicit", "implicit"])
def test_all_three_terms_of_an_exact_population_are_found(tmp_path, scheme):
    """Two snapshots leave a quadratic W across the motion of their mean undetermined; four do not."""
    problem = on_the_condition(scheme, 40, polynomials, steps=4)
    settings = settings_of("jkonet_star_linear", scheme=scheme, **EXACT)
    fitted = fit(problem, settings)
    assert fitted.status == ["ok"] and fitted.history["loss"][0] < 1e-8
    methods.save(fitted, np.array([0]), tmp_path / "fit.msgpack")
    energy = methods.load(tmp_path / "fit.msgpack", settings)[0][0].energy
    assert_same(energy, energies_of(fitted, settings)[0])
    assert energy.beta == pytest.approx(0.4, rel=1e-3)
    clouds = problem.snapshots.clouds(0, "train")
    cloud = clouds[0] if scheme == "explicit" else clouds[1]
    potential = functools.partial(energy.potential, t=jnp.float32(0))
    apart = cloud - np.roll(cloud, 1, axis=0)
    assert relative_error(potential, slope_of(quartic), cloud) < 1e-4
    assert relative_error(energy.interaction, slope_of(polynomials().interaction), apart) < 1e-4


def test_a_negative_beta_is_fitted_as_none_and_said_so():
    problem = on_the_condition("explicit", 40, negative_entropy)
    settings = settings_of("jkonet_star_linear", scheme="explicit", **EXACT)
    lines = []
    fitted = jkonet_star_linear.fit(problem, settings, lines.append)
    assert (
        fitted.params["entropy"] == [0.0]
        and "entropy: 0 in units of the energy, at its bound" in lines[0]
    )
    without = fit(problem, settings | {"terms": ["potential", "interaction"]})
    assert "entropy" not in without.params and without.history["loss"][0] > 1e-3
    for term in ("potential", "interaction"):
        one, other = (f.params[term]["theta"] for f in (fitted, without))
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4 * np.abs(one).max())


def test_the_rows_of_all_terms_are_sums_over_the_other_particles():
    """J against automatic derivatives, one particle after the other; snapshots of unequal size."""
    data = observed((30, 24, 36), seeds=(0,))
    problem = problem_of(data)
    settings = settings_of("jkonet_star_linear", **EXACT)
    pairs = coupled_pairs(data, problem.coupling, 0, "implicit", np.float64)
    rows = jkonet_star_linear.rows_of(problem, settings, 0, pairs, UNITS)
    clouds = [(cloud - UNITS["center"]) / UNITS["width"] for cloud in data.clouds(0, "train")]
    bases = jkonet_star_linear.bases_of(rows, clouds, settings, (4.0, 1.0), 0)
    means = jkonet_star_linear.means_of(bases, clouds)
    gram = 0
    with jax.enable_x64(True):
        slope = jax.jit(jax.jacfwd(features.kernel_features, argnums=1))
        of_v = jax.jit(jax.jacfwd(features.features, argnums=1))
        for p, x in enumerate(rows.pairs.x):
            cloud = clouds[rows.k[p]]
            apart = np.sum((cloud - x) ** 2, axis=1)
            assert apart.min() < 1e-12
            others = np.delete(cloud, np.argmin(apart), axis=0)
            pulls = np.mean(
                [slope(bases["interaction"], jnp.asarray(x - y)) for y in others], axis=0
            )
            score = densities.score(problem.density.mixture(0, rows.k[p]), jnp.asarray(pairs.x[p]))
            own = np.asarray(of_v(bases["potential"], jnp.asarray(x)))
            expected = np.concatenate([own, pulls, UNITS["width"] * np.asarray(score)[None]])
            gram = gram + rows.pairs.weight[p] * expected @ expected.T
    found = jkonet_star_linear.quadratic(bases, means, rows)
    np.testing.assert_allclose(found.gram, gram, rtol=1e-5, atol=1e-6 * np.abs(gram).max())


@pytest.mark.parametrize("term", neural.TERMS)
def test_a_term_alone_is_an_energy_of_that_term(term):
    problem = on_the_condition("explicit")
    settings = settings_of("jkonet_star_linear", terms=[term], interaction_waves=5)
    fitted = fit(problem, settings)
    energy = energies_of(fitted, settings)[0]
    assert set(fitted.params) == {"units", term} and fitted.status == ["ok"]
    assert (energy.interaction is None) == (term != "interaction")
    slope = jax.grad(energy.potential)(jnp.ones(2), jnp.float32(0))
    assert np.any(slope != 0) == (term == "potential")
    assert (energy.beta > 0) == (term == "entropy")


def test_a_kernel_of_particles_on_one_spot_has_a_cause():
    """No particle has another apart from it: W has no gradient anywhere, and no ridge to hold to."""
    data, coupling = followed(lambda x, k: 0 * x + k, n=20)
    data = Snapshots(0 * data.x + data.snapshot[:, None], *list(vars(data).values())[1:])
    settings = settings_of("jkonet_star_linear", terms=["interaction"])
    status = fit(Problem(data, coupling), settings).status
    assert status == [
        "not solved: the equations are singular or not finite at every ridge and width"
    ]


def test_noise_calls_for_a_larger_ridge_than_exact_data():
    exact = quartic_pairs(n=60)
    noise = np.random.default_rng(1).normal(size=exact.target.shape) * 3
    settings = settings_of("jkonet_star_linear", centers=40, ridges=[1e-8, 1e-2], bump_widths=[4.0])
    chosen = {}
    for name, pairs in (("exact", exact), ("noisy", exact._replace(target=noise))):
        rows = jkonet_star_linear.Rows(pairs)
        chosen[name] = jkonet_star_linear.choose(rows, [], settings, 0)[1]
    assert chosen == {"exact": (1e-8,), "noisy": (1e-2,)}


def test_equations_that_are_singular_for_every_candidate_are_said_to_be():
    """Three pairs cannot tell 16 features apart, and a ridge below rounding does not help."""
    problem = problem_of(observed(sizes=(6, 6), seeds=(0,)))
    settings = settings_of("jkonet_star_linear", centers=2, ridges=[1e-30])
    status = fit(problem, settings).status
    assert status == [
        "not solved: the equations are singular or not finite at every ridge and width"
    ]
    solvable = settings_of("jkonet_star_linear", centers=2, ridges=[1e-30, 1e-4])
    assert fit(problem, solvable).status == ["ok"]


def test_a_point_in_several_pairs_stands_in_one_fold(monkeypatch):
    seen, quadratic = [], jkonet_star_linear.quadratic

    def noting(bases, means, rows):
        seen.append(rows.pairs.x)
        return quadratic(bases, means, rows)

    monkeypatch.setattr(jkonet_star_linear, "quadratic", noting)
    rng = np.random.default_rng(0)
    points = np.repeat(rng.normal(size=(40, 2)), 3, axis=0)  # each point in three pairs
    pairs = Pairs(points, np.zeros(120), rng.normal(size=(120, 2)), np.ones(120))
    settings = settings_of("jkonet_star_linear", centers=5, bump_widths=[4], ridges=[1e-4])
    jkonet_star_linear.choose(jkonet_star_linear.Rows(pairs), [], settings, seed=0)
    parts = [{tuple(point) for point in part} for part in seen]
    assert len(parts) == 5 and sum(map(len, parts)) == len(set.union(*parts)) == 40


@pytest.mark.parametrize("terms", [["potential", "entropy"], ["interaction"], ["potential"]])
def test_an_interval_stands_in_one_fold_where_a_term_is_that_of_a_snapshot(terms):
    problem = on_the_condition("explicit", 40, polynomials, steps=4)
    settings = settings_of("jkonet_star_linear", scheme="explicit", terms=terms)
    pairs = coupled_pairs(problem.snapshots, problem.coupling, 0, "explicit")
    rows = jkonet_star_linear.rows_of(problem, settings, 0, pairs, UNITS)
    fold = jkonet_star_linear.folds_of(rows, 0)
    interval = problem.coupling.k
    if terms == ["potential"]:
        assert [len(set(fold[interval == k])) for k in range(4)] == [5] * 4
    else:
        np.testing.assert_array_equal(fold, interval)
        # A single interval is folded by its points.
        one = jax.tree.map(lambda column: column[interval == 2], rows)
        assert len(set(jkonet_star_linear.folds_of(one, 0))) == 5


def test_an_interaction_that_only_sampling_shows_is_left_out():
    """Standard Gaussians whose wanted gradients x have an error of each interval's own, as means over tau have.

    Their means differ by 1 / sqrt(n) only, which a large quadratic W, and -W in V, make into that error.
    """
    rng, n, intervals = np.random.default_rng(3), 300, 5
    clouds = list(rng.normal(size=(intervals, n, 2)))
    x, k = np.concatenate(clouds), np.repeat(np.arange(intervals, dtype=np.int32), n)
    rows = jkonet_star_linear.Rows(
        Pairs(x, np.zeros(len(x)), x + rng.normal(size=(intervals, 2))[k], np.ones(len(x))), k
    )
    base = settings_of("jkonet_star_linear", terms=["potential", "interaction"])
    error = {}
    for name, ridges in (("small", [1e-6]), ("chosen", base["interaction_ridges"])):
        widths = {"bump_widths": [16], "interaction_widths": [1]}
        settings = base | widths | {"interaction_ridges": ridges}
        theta, bases, _ = jkonet_star_linear.solve(rows, clouds, settings, 0, silent)
        units = {"center": 0.0, "width": 1.0, "scale": 1.0, "time_center": 0.0, "time_width": 1.0}
        params = jkonet_star_linear.params_of(theta, bases, units)
        params = jax.tree.map(lambda leaf: jkonet_star_linear._stack((leaf,))[0], params)
        potential = functools.partial(jkonet_star_linear.potential, params, t=jnp.float32(0))
        error[name] = relative_error(potential, lambda z: z, x)
    # What V cannot help is the mean of the five errors, 0.45 per coordinate.
    assert error["small"] > 10 and error["chosen"] < 1, error


def test_trainings_do_not_share_numbers_with_simulations():
    simulated = jax.random.split(jax.random.key(3))
    trained = jax.random.split(seed_keys(np.array([3]))[0])
    later = [jax.random.fold_in(key, k) for key in (*simulated, *trained) for k in range(6)]
    bits = [jax.random.key_data(key).tobytes() for key in (*simulated, *trained, *later)]
    assert len(set(bits)) == len(bits)


def test_fifty_dimensions_stay_usable():
    tau = 0.1
    data, coupling = followed(lambda x, k: x - tau * x, d=50, n=60, steps=1, tau=tau)
    settings = settings_of("jkonet_star_linear", scheme="explicit", bump_widths=[16], ridges=[1e-4])
    fitted = fit(Problem(data, coupling), settings)
    assert fitted.params["potential"]["basis"]["monomials"].shape == (1, 1325, 2)
    energy = energies_of(fitted, settings)[0]

    def truth(x):
        return 0.5 * jnp.sum(x**2)

    found = max(l2_uvps(energy, truth, data, "explicit"))
    zero = max(l2_uvps(Energy(static(lambda x: jnp.zeros(()))), truth, data, "explicit"))
    assert found < 0.05 * zero
