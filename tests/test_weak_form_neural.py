"""Weak form of a neural V: its residuals by those of the weak form, its loss by its formula and its mean, and a known V."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jko import neural, simulation, weak
from jko.batches import Clouds
from jko.methods import Problem, weak_form_neural
from jko.slopes import of_all

SETTINGS = {
    "kind": "weak_form_neural",
    "scheme": "explicit",
    "time_varying": False,
    "degree": 2,
    "max_polynomials": 30,
    "centers": 6,
    "largest_share": 0.25,
    "test_widths": [2.5, 20],
    "hidden": [16],
    "steps": 200,
    "checkpoints": 20,
    "learning_rate": 0.01,
    "schedule": "constant",
    "clip": 10,
    "loss_limit": 1e6,
}


def simulated(potential="sphere", **changes):
    settings = {
        "potential": potential,
        "interaction": None,
        "beta": 0.0,
        "dimension": 2,
        "n_train": 200,
        "n_test": 10,
        "steps": 3,
        "substeps": 1,
        "tau": 0.01,
        "pairing": "unpaired",
        "initial": {"law": "uniform", "low": -4.0, "high": 4.0},
        "seeds": [0],
    }
    return simulation.simulate_snapshots(settings | changes)


def nets(time_varying=False):
    return neural.init(jax.random.key(1), 2, ["potential"], time_varying, [16])


def single(found):
    return jax.tree.map(jnp.asarray, found)


@pytest.mark.parametrize("time_varying", [False, True])
def test_the_residuals_are_those_of_the_weak_form(time_varying):
    """With fields that are the network's own slopes, chi^2 of the normal equations at the coefficient 1."""
    data, v = simulated(), nets(time_varying)
    # Snapshots of two sizes: rows without a particle count for nothing.
    rows = np.flatnonzero(data.train[0] & (data.snapshot == 1))[:30]
    data.train[0, rows] = False
    cloud, known, units = single(weak_form_neural.known_of(data, 0, 200, SETTINGS)[0])
    found = weak_form_neural.residuals(v, cloud, known)
    center, width = np.asarray(units["center"]), float(units["width"])
    clouds = [(c - center) / width for c in data.clouds(0, "train")]
    fields = [
        np.asarray(
            jax.vmap(jax.grad(neural.v, argnums=1), in_axes=(None, 0, None))(
                v, jnp.asarray(c, jnp.float32), t
            ),
            np.float64,
        )[:, :, None]
        for c, t in zip(clouds[:-1], known.time, strict=True)
    ]
    clouds = [np.asarray(c, np.float64) for c in clouds]
    fields = [of_all(field) for field in fields]
    people = weak.Population(clouds, np.asarray(known.h, np.float64), fields, False)
    tests = jax.tree.map(np.asarray, known.tests)
    tests |= {name: np.asarray(tests[name], np.float64) for name in ("centers", "sigma")}
    white = weak.noise(people, tests, np.zeros(1))
    normal = weak.normal_equations(people, tests, white, np.ones(1), np.zeros(1))
    assert float(found @ found) == pytest.approx(normal.residual, rel=5e-3)
    assert len(found) == 3 * (len(tests["monomials"]) + 6) == len(white.scale)


@pytest.mark.parametrize(("units", "bounded"), [(0.5, False), (3.0, True)])
def test_the_loss_is_chi_square_less_what_the_halves_differ_by(units, bounded):
    """In units of noise in which the halves differ by a quarter of the bound, and by nine times."""
    cloud, known, _ = single(weak_form_neural.known_of(simulated(), 0, 200, SETTINGS)[0])
    known, v = known._replace(whiten=units * known.whiten), nets()
    halves = [Clouds(cloud.z[part], cloud.weight[part]) for part in (np.s_[:100], np.s_[100:])]
    first, second = (np.asarray(weak_form_neural.residuals(v, half, known)) for half in halves)
    whole = np.asarray(weak_form_neural.residuals(v, cloud, known))
    np.testing.assert_allclose((first + second) / 2, whole, atol=0.02)
    apart = np.sum((first - second) ** 2) / (4 * len(first))
    assert (apart > 1) == bounded
    expected = np.sum(whole**2) / len(whole) - 1 if bounded else first @ second / len(first)
    found = weak_form_neural.loss(v, cloud, known, None)
    assert float(found) == pytest.approx(expected, rel=1e-2, abs=5e-3)


def test_the_product_of_the_halves_has_the_mean_zero_at_the_true_energy():
    """Of a population at rest, over draws; chi^2 has 1, and the bound raises the mean by at most 0.4 (2 / N)^(1/2)."""
    flat, products, losses = jax.tree.map(jnp.zeros_like, nets()), [], []
    for seed in range(24):
        data = simulated("flat", n_train=120, seeds=[seed])
        cloud, known, _ = single(weak_form_neural.known_of(data, 0, 120, SETTINGS)[0])
        first, second = (
            weak_form_neural.residuals(flat, Clouds(cloud.z[part], cloud.weight[part]), known)
            for part in (np.s_[:60], np.s_[60:])
        )
        products.append(float(first @ second) / len(first))
        losses.append(float(weak_form_neural.loss(flat, cloud, known, None)))
    deviation = np.std(products) / np.sqrt(len(products))
    assert abs(np.mean(products)) < 3 * deviation and deviation < 0.1
    raised = np.subtract(losses, products)
    assert (raised > -1e-3).all() and np.mean(raised) < 2 * 0.4 * np.sqrt(2 / len(first))


def test_a_training_ends_where_the_loss_has_come_down_to_zero():
    marks = np.array([0, 2, 4, 6])
    down, up = np.array([5.0, 3.0, 1.0, -2.0, 4.0, np.nan]), np.array([5.0, 3, 1, 2, 4, 4])
    assert weak_form_neural.ended(down, marks[:3]) == 4
    assert weak_form_neural.ended(up, marks) == 6
    assert weak_form_neural.ended(up, marks[:3]) is None


def test_a_seed_without_noise_of_its_means_is_lost_alone():
    data = simulated(n_train=60, seeds=[0, 1])
    data.x[data.rows(1, "train", 2)[0]] = np.nan
    fit = weak_form_neural.fit(Problem(data), SETTINGS | {"steps": 4, "checkpoints": 2}, print)
    assert fit.status[0] == "ok"
    assert fit.status[1] == "not solved: train particles are not finite numbers"


def test_a_quadratic_is_found_and_the_training_ends_before_it_follows_the_noise():
    lines, data = [], simulated(n_train=600, seeds=[0, 1])
    fit = weak_form_neural.fit(Problem(data), SETTINGS, lines.append)
    assert fit.status == ["ok", "ok"] and len(fit.history) == 2 * SETTINGS["steps"]
    taken = [int(line.split()[-1]) for line in lines if "taken after step" in line]
    assert len(taken) == 2 and min(taken) < SETTINGS["steps"]
    for s in range(2):
        energy = weak_form_neural.energy(
            jax.tree.map(lambda leaf, s=s: jnp.asarray(leaf[s]), fit.params), SETTINGS
        )
        x = jnp.asarray(np.random.default_rng(0).uniform(-3, 3, (50, 2)), jnp.float32)
        slope = jax.vmap(lambda z, e=energy: jax.grad(e.potential)(z, jnp.float32(0)))(x)
        # V = -10 |x|^2: the particles move by a fifth of their place in a step.
        assert np.sqrt(np.mean((slope + 20 * x) ** 2) / np.mean((20 * x) ** 2)) < 0.3


def test_too_few_particles_are_said():
    with pytest.raises(ValueError, match="test functions need at least"):
        weak_form_neural.fit(
            Problem(simulated(n_train=8)), SETTINGS | {"largest_share": 0.9}, print
        )
