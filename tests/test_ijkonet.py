"""iJKOnet: the gap by hand, its terms by second routes, and energies that the game must find."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from clouds import followed, observed
from jko import methods, metrics, neural, prediction
from jko.densities import knn_entropy
from jko.energies import Energy, static
from jko.methods import Problem, ijkonet
from jko.methods.ijkonet import (
    Clouds,
    Intervals,
    mean_interaction,
    moved_terms,
    observed_energy,
    velocity,
)
from jko.networks import log_det
from jko.pairs import standardise
from learning import problem_of, settings_of, silent

rng = np.random.default_rng(3)
Z = jnp.asarray(rng.normal(size=(7, 3, 2)), jnp.float32)  # 7 particles of 3 snapshots
WEIGHT = jnp.asarray(rng.uniform(0.5, 1, size=(7, 3)), jnp.float32)
KNOWN = Intervals(
    h=jnp.array([0.3, 0.5]),
    start=jnp.array([-1.0, 0.2]),
    end=jnp.array([0.2, 1.0]),
    entropy=jnp.array([2.0, 2.5, 2.2]),
    cost=jnp.float32(1.0),
)
KEY = jax.random.key(5)


def game(**changes):
    """Settings, and random networks of the energy and the map."""
    settings = settings_of("ijkonet", map_hidden=[8, 8], partners=6, **changes)
    nets = neural.init(KEY, 2, settings["terms"], settings["time_varying"], settings["hidden"])
    net = ijkonet.init_map(KEY, 2, settings["map_hidden"])
    return settings, nets, net


ALL = ["potential", "interaction", "entropy"]


@pytest.mark.parametrize("time_varying", [False, True])
def test_the_terms_of_the_gap_are_their_formulas(time_varying):
    settings, nets, net = game(terms=ALL, time_varying=time_varying)
    found = moved_terms(nets, net, Clouds(Z, WEIGHT), KNOWN, settings, KEY)
    found_observed = observed_energy(nets, Clouds(Z, WEIGHT), KNOWN, settings)
    v, w = jax.jit(neural.v), jax.jit(neural.w)
    moved = observed_ = transport = 0.0
    share = np.asarray(WEIGHT) / np.asarray(WEIGHT).sum(axis=0)
    beta = float(neural.b(nets))
    for k in (0, 1):
        h, start, end = KNOWN.h[k], KNOWN.start[k], KNOWN.end[k]
        x, y = Z[:, k], Z[:, k + 1]
        here, there = share[:, k], share[:, k + 1]

        def step(z, h=h, start=start):
            return z + h * velocity(net, z, start)

        image = jax.jit(jax.vmap(step))(x)
        for cloud, mass, sign in ((image, here, 1), (y, there, -1)):
            value = sum(m * float(v(nets, z, end)) for m, z in zip(mass, cloud, strict=True))
            pairs = [(i, j) for i in range(7) for j in range(7) if i != j]
            both = np.array([mass[i] * mass[j] for i, j in pairs])
            kernel = np.array([float(w(nets, cloud[i] - cloud[j])) for i, j in pairs])
            value += both @ kernel / both.sum() / 2
            if sign == 1:
                stretch = np.linalg.slogdet(jax.jit(jax.vmap(jax.jacfwd(step)))(x))[1]
                moved += value - beta * (float(KNOWN.entropy[k]) + here @ stretch)
            else:
                observed_ += value - beta * float(KNOWN.entropy[k + 1])
        transport += here @ np.sum(np.asarray(image - x) ** 2, axis=1) / (2 * float(h))
    np.testing.assert_allclose(found.moved, moved, rtol=2e-4, atol=1e-5)
    np.testing.assert_allclose(found_observed, observed_, rtol=2e-4, atol=1e-5)
    np.testing.assert_allclose(found.transport, transport, rtol=1e-4)


def test_the_explicit_scheme_is_the_game_of_the_negative_energy_backwards():
    settings, nets, net = game(terms=["potential", "interaction"])
    explicit = settings | {"scheme": "explicit"}
    forward = [
        *moved_terms(nets, net, Clouds(Z, WEIGHT), KNOWN, explicit, KEY),
        observed_energy(nets, Clouds(Z, WEIGHT), KNOWN, explicit),
    ]

    def negative(tree):
        last = tree["params"]["Dense_2"]
        return {"params": tree["params"] | {"Dense_2": jax.tree.map(lambda leaf: -leaf, last)}}

    reversed_known = KNOWN._replace(
        h=KNOWN.h[::-1], start=KNOWN.end[::-1], end=KNOWN.start[::-1], entropy=KNOWN.entropy[::-1]
    )
    opposite = {name: negative(tree) for name, tree in nets.items()}
    clouds = Clouds(Z[:, ::-1], WEIGHT[:, ::-1])
    backward = [
        *moved_terms(opposite, net, clouds, reversed_known, settings, KEY),
        observed_energy(opposite, clouds, reversed_known, settings),
    ]
    for one, other in zip(forward, backward, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_pairs_of_different_particles_have_no_bias_and_those_with_themselves_have():
    """Batches of 3 from 7 particles, averaged over all of them, against the mean over all pairs."""
    settings, nets, _ = game(terms=["interaction"])
    cloud = np.asarray(Z[:, 0])
    kernel = np.array([[float(neural.w(nets, jnp.asarray(a - b))) for b in cloud] for a in cloud])
    off = kernel[~np.eye(7, dtype=bool)].mean()
    triples = [(a, b, c) for a in range(7) for b in range(7) for c in range(7)]
    triples = [triple for triple in triples if len(set(triple)) == 3]

    def mean_over_batches(settings):
        one = jax.jit(lambda points: mean_interaction(nets, Clouds(points, jnp.ones(3)), settings))
        return np.mean(jax.lax.map(one, Z[jnp.array(triples), 0]))

    np.testing.assert_allclose(mean_over_batches(settings), off, rtol=1e-4)
    np.testing.assert_allclose(mean_over_batches(settings | {"partners": 1}), off, rtol=1e-4)
    biased = 2 / 3 * off + kernel[0, 0] / 3
    assert abs(biased - off) > 0.01 * abs(off)
    np.testing.assert_allclose(mean_over_batches(settings | {"diagonal": True}), biased, rtol=1e-4)


def test_a_particle_that_fills_two_rows_is_no_partner_of_itself():
    settings, nets, _ = game(terms=["interaction"])
    doubled = Clouds(jnp.concatenate([Z[:3, 0], Z[:3, 0]]), jnp.full(6, 0.5))
    found = mean_interaction(nets, doubled, settings)
    alone = mean_interaction(nets, Clouds(Z[:3, 0], jnp.ones(3)), settings)
    np.testing.assert_allclose(found, alone, rtol=1e-4)


@pytest.mark.parametrize("d", [1, 2, 10, 50])
def test_log_det_of_the_map(d):
    net = ijkonet.init_map(KEY, d, [16, 16])
    # Larger than at the start, so that the determinant is far from 1.
    net = jax.tree.map(lambda leaf: 3 * leaf, net)
    z, t, h = jnp.asarray(rng.normal(size=d), jnp.float32), jnp.float32(0.3), jnp.float32(0.2)
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), net)
        step = 1e-6 * np.eye(d)
        at = [np.asarray(velocity(wide, np.float64(z) + s * step[i], 0.3))
              for i in range(d) for s in (1, -1)]  # fmt: skip
    columns = [(at[2 * i] - at[2 * i + 1]) / 2e-6 for i in range(d)]
    jacobian = np.eye(d) + 0.2 * np.stack(columns, axis=1)
    exact = log_det(lambda z: velocity(net, z, t), z, h, "exact", KEY)
    np.testing.assert_allclose(exact, np.linalg.slogdet(jacobian)[1], rtol=1e-3, atol=1e-4)


def test_the_estimate_of_log_det_has_the_exact_one_as_its_mean():
    d = 10
    net = ijkonet.init_map(KEY, d, [16, 16])
    net = jax.tree.map(lambda leaf: 2 * leaf, net)
    z, t, h = jnp.asarray(rng.normal(size=d), jnp.float32), jnp.float32(0.3), jnp.float32(0.2)
    estimates = jax.vmap(
        lambda key: log_det(lambda z: velocity(net, z, t), z, h, "hutchinson", key)
    )(jax.random.split(KEY, 4000))
    exact = log_det(lambda z: velocity(net, z, t), z, h, "exact", KEY)
    error = float(estimates.std()) / np.sqrt(4000)
    assert abs(exact) > 5 * error
    np.testing.assert_allclose(estimates.mean(), exact, atol=4 * error)


def test_short_snapshots_fill_their_rows_without_changing_a_mean():
    problem = problem_of(observed(sizes=(30, 24, 36), seeds=(0,)))
    clouds, known, units = ijkonet.standardised(problem, 0, ["entropy"], 40, silent)
    assert clouds.z.shape == (40, 3, 2)
    for k, cloud in enumerate(problem.snapshots.clouds(0, "train")):
        rows = clouds.z[:, k] * units["width"] + units["center"]
        share = clouds.weight[:, k] / clouds.weight[:, k].sum()
        np.testing.assert_allclose(share @ rows, cloud.mean(axis=0), rtol=1e-5)
        np.testing.assert_allclose(share @ rows**3, (cloud**3).mean(axis=0), rtol=1e-4)
    # Lengths are in units of the width, so that the entropy of two coordinates loses 2 log(width).
    expected = knn_entropy(problem.snapshots.cloud(0, "train", 1)) - 2 * np.log(units["width"])
    assert known.entropy[1] == pytest.approx(expected, rel=1e-4)


def play(data, coupling, **changes):
    settings = settings_of("ijkonet", **{"hidden": [32, 32], "map_hidden": [32, 32]} | changes)
    problem = Problem(data, coupling)
    fitted = ijkonet.fit(problem, settings, silent)
    params = jax.tree.map(lambda leaf: leaf[0], fitted.params)
    return fitted, ijkonet.energy(params, settings), ijkonet.transport(params, settings)


LONG = {"steps": 400, "batch": 200, "learning_rate": 3e-3, "map_learning_rate": 3e-3}


@pytest.mark.parametrize("scheme", ["implicit", "explicit"])
def test_the_game_finds_a_quadratic_potential_by_either_scheme(scheme):
    """V = a |x - 1|^2 / 2 divides x - 1 by 1 + tau a, or multiplies it by 1 - tau a."""
    a, tau = 2.0, 0.1
    factor = 1 / (1 + tau * a) if scheme == "implicit" else 1 - tau * a
    data, coupling = followed(lambda x, k: 1 + factor * (x - 1), n=400, steps=3, tau=tau)
    fitted, energy, transport = play(data, coupling, scheme=scheme, **LONG)
    truth = Energy(static(lambda x: a * jnp.sum((x - 1) ** 2) / 2))
    here, there = data.cloud(0, "test", 0), data.cloud(0, "test", 1)
    error, zero = (
        metrics.l2_uvps(found, truth, here, there, 0.0, tau)["l2_uvp"]
        for found in (energy, Energy(static(lambda x: 0 * jnp.sum(x))))
    )
    assert error < 0.02 * zero
    gap = fitted.history["gap"]
    # Zero for the true energy; a batch, and the map's last steps, leave some per cent.
    assert gap.iloc[0] < -0.5 and abs(gap.iloc[-5:].mean()) < 0.05
    if scheme == "explicit":
        assert transport is None
    else:
        moved = prediction.transported(transport, here, 0)
        assert np.mean(np.abs(moved - there)) < 0.1 * np.mean(np.abs(here - there))


def test_the_game_finds_the_weight_of_the_entropy():
    """Heat flow: N(0, 1 + 2 beta t) in each coordinate, with independent particles at every time."""
    beta, tau, n = 0.5, 0.1, 1500
    draws = iter(np.random.default_rng(0).normal(size=(6, 2 * n, 2)))
    data, _ = followed(
        lambda x, k: np.sqrt(1 + 2 * beta * tau * (k + 1)) * next(draws), n=n, steps=3, tau=tau
    )
    coupling = problem_of(data).coupling
    _, energy, _ = play(data, coupling, terms=["entropy"], **LONG | {"learning_rate": 0.02})
    assert energy.interaction is None
    assert float(energy.beta) == pytest.approx(beta, rel=0.15)


def test_a_game_with_an_entropy_in_fifty_dimensions_by_either_log_det():
    """Nearly the same steps, as the estimates differ by their few probes alone, and not those of V alone."""
    data, coupling = followed(lambda x, k: 0.9 * x, n=60, d=50)

    def losses(*terms, log_det="exact"):
        fitted, _, _ = play(data, coupling, terms=list(terms), log_det=log_det, steps=12, batch=30)
        assert fitted.status == ["ok"]
        return fitted.history["map_loss"].to_numpy()

    exact, without = losses("potential", "entropy"), losses("potential")
    error = np.abs(losses("potential", "entropy", log_det="hutchinson") - exact).max()
    assert error < 0.05 * np.abs(without - exact).max()


def test_an_explicit_entropy_is_refused():
    problem = problem_of(observed(seeds=(0,)))
    settings = settings_of("ijkonet", terms=["entropy"], scheme="explicit")
    with pytest.raises(ValueError, match="terms holds entropy and scheme is explicit"):
        methods.module("ijkonet").fit(problem, settings, silent)


def test_epochs_that_are_kept_are_loaded_with_their_energies(tmp_path):
    problem = problem_of(observed(seeds=(0, 7)))
    settings = settings_of("ijkonet", checkpoints=3, steps=9, batch=20)
    fitted = ijkonet.fit(problem, settings, silent)
    methods.save(fitted, problem.snapshots.seed, tmp_path / "fit.msgpack")
    kept = methods.load_kept(tmp_path / "fit.msgpack", settings)
    last, _ = methods.load(tmp_path / "fit.msgpack", settings)
    assert list(kept)[0] == 1 and len(kept) == 3
    x = jnp.array([0.3, -1.0])
    values = [found[1].energy.potential(x, jnp.float32(0)) for found in (*kept.values(), last)]
    assert values[-1] == values[-2] != values[0]


@pytest.mark.parametrize("scheme", ["implicit", "explicit"])
def test_the_game_starts_at_the_potential_that_it_is_given(scheme):
    """With hardly a step of the game, V and the map are those of the start, to first order in tau."""
    data = observed(sizes=(60, 50, 70), seeds=(0, 7))
    start = Energy(lambda x, t: (1 + 0.2 * t) * jnp.sum((x - 1) ** 2) / 2)
    settings = settings_of(
        "ijkonet", hidden=[32, 32], map_hidden=[32, 32], scheme=scheme, steps=1, batch=40,
        time_varying=True, start="weak_form", start_steps=600, learning_rate=1e-9, map_learning_rate=1e-9
    )  # fmt: skip
    problem = problem_of(data)._replace(start=[start, None])
    fitted = ijkonet.fit(problem, settings, silent)
    assert fitted.status == ["ok", "not started: weak_form has learned no V"]
    params = jax.tree.map(lambda leaf: leaf[0], fitted.params)
    energy, slope = ijkonet.energy(params, settings), jax.grad(start.potential)
    for k, cloud in enumerate(data.clouds(0, "train")):
        x, t = jnp.asarray(cloud, jnp.float32), jnp.float32(data.time[k])
        wanted, found = (
            jax.vmap(jax.grad(of.potential), in_axes=(0, None))(x, t) for of in (start, energy)
        )
        assert np.mean((found - wanted) ** 2) < 0.02 * np.mean(wanted**2)
    place, sign = (0, -1) if scheme == "implicit" else (1, 1)
    x, t = jnp.asarray(data.cloud(0, "train", place), jnp.float32), data.time[place]

    def velocity_at(x):
        return velocity(params["map"], *standardise(params["units"], x, jnp.float32(t)))

    u = jax.vmap(velocity_at)(x)
    units = params["units"]
    wanted = sign * jax.vmap(slope, in_axes=(0, None))(x, jnp.float32(t))
    moved = u * units["scale"] / units["width"]
    assert np.mean((moved - wanted) ** 2) < 0.02 * np.mean(wanted**2)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"halves": True}, "halves is true and start is weak_form, which has seen both halves"),
        ({"terms": ["interaction"]}, "start is weak_form and terms holds no potential"),
    ],
)
def test_a_start_that_says_nothing_is_refused(changes, sentence):
    problem = problem_of(observed())._replace(start=[None, None])
    with pytest.raises(ValueError, match=sentence):
        ijkonet.fit(problem, settings_of("ijkonet", start="weak_form", **changes), silent)
