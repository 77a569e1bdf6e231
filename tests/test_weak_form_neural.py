"""Weak form of a neural V: its residuals by those of the weak form, its loss by its formula and its mean, and a known V."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jko import heat, methods, neural, simulation, weak
from jko.batches import Clouds
from jko.methods import Problem, weak_form_neural
from jko.slopes import of_all

SETTINGS = {
    "kind": "weak_form_neural",
    "scheme": "explicit",
    "terms": ["potential"],
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
# What noise spreads by half of its width in three steps.
SMALL = {"law": "uniform", "low": -0.3, "high": 0.3}


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


@pytest.mark.parametrize(
    ("time_varying", "beta"), [(False, None), (True, None), (False, 0.4), (True, 0.4)]
)
def test_the_residuals_are_those_of_the_weak_form(time_varying, beta):
    """With fields that are the network's own slopes, chi^2 at the coefficient 1, and beta as the last one."""
    data, v = simulated(), nets(time_varying)
    # Snapshots of two sizes: rows without a particle count for nothing.
    rows = np.flatnonzero(data.train[0] & (data.snapshot == 1))[:30]
    data.train[0, rows] = False
    cloud, known, units = single(weak_form_neural.known_of(data, 0, 200, SETTINGS)[0])
    found = weak_form_neural.residuals(v, None if beta is None else jnp.float32(beta), cloud, known)
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
    noisy, h = beta is not None, np.asarray(known.h, np.float64)
    people = weak.Population(clouds, h, fields, noisy)
    tests = jax.tree.map(np.asarray, known.tests)
    tests |= {name: np.asarray(tests[name], np.float64) for name in ("centers", "sigma")}
    rest = np.zeros(1 + noisy)
    white = weak.noise(people, tests, rest)
    coefficients = np.array([1.0, beta] if noisy else [1.0])
    normal = weak.normal_equations(people, tests, white, coefficients, rest)
    assert float(found @ found) == pytest.approx(normal.residual, rel=5e-3)
    assert len(found) == 3 * (len(tests["monomials"]) + 6) == len(white.scale)


@pytest.mark.parametrize(("units", "bounded"), [(0.5, False), (3.0, True)])
def test_the_loss_is_chi_square_less_what_the_halves_differ_by(units, bounded):
    """In units of noise in which the halves differ by a quarter of the bound, and by nine times."""
    cloud, known, _ = single(weak_form_neural.known_of(simulated(), 0, 200, SETTINGS)[0])
    known, v = known._replace(whiten=units * known.whiten), nets()
    halves = [Clouds(cloud.z[part], cloud.weight[part]) for part in (np.s_[:100], np.s_[100:])]
    first, second = (
        np.asarray(weak_form_neural.residuals(v, None, half, known)) for half in halves
    )
    whole = np.asarray(weak_form_neural.residuals(v, None, cloud, known))
    np.testing.assert_allclose((first + second) / 2, whole, atol=0.02)
    apart = np.sum((first - second) ** 2) / (4 * len(first))
    assert (apart > 1) == bounded
    expected = np.sum(whole**2) / len(whole) - 1 if bounded else first @ second / len(first)
    found = weak_form_neural.loss({"nets": v}, cloud, known, None)
    assert float(found) == pytest.approx(expected, rel=1e-2, abs=5e-3)


def test_the_product_of_the_halves_has_the_mean_zero_at_the_true_energy():
    """Of a population at rest, over draws; chi^2 has 1, and the bound raises the mean by at most 0.4 (2 / N)^(1/2)."""
    flat, products, losses = jax.tree.map(jnp.zeros_like, nets()), [], []
    for seed in range(24):
        data = simulated("flat", n_train=120, seeds=[seed])
        cloud, known, _ = single(weak_form_neural.known_of(data, 0, 120, SETTINGS)[0])
        first, second = (
            weak_form_neural.residuals(flat, None, Clouds(cloud.z[part], cloud.weight[part]), known)
            for part in (np.s_[:60], np.s_[60:])
        )
        products.append(float(first @ second) / len(first))
        losses.append(float(weak_form_neural.loss({"nets": flat}, cloud, known, None)))
    deviation = np.std(products) / np.sqrt(len(products))
    assert abs(np.mean(products)) < 3 * deviation and deviation < 0.1
    raised = np.subtract(losses, products)
    assert (raised > -1e-3).all() and np.mean(raised) < 2 * 0.4 * np.sqrt(2 / len(first))


def test_a_training_ends_where_the_loss_has_come_down_to_zero():
    marks = np.array([0, 2, 4, 6])
    down, up = np.array([5.0, 3.0, 1.0, -2.0, 4.0, np.nan]), np.array([5.0, 3, 1, 2, 4, 4])
    assert weak_form_neural.ended(down, marks[:3]) == 4
    assert weak_form_neural.ended(down[:3], marks) is None
    assert weak_form_neural.ended(up, marks) is None


def test_a_seed_without_noise_of_its_means_is_lost_alone():
    data = simulated(n_train=60, seeds=[0, 1])
    data.x[data.rows(1, "train", 2)[0]] = np.nan
    fit = weak_form_neural.fit(Problem(data), SETTINGS | {"steps": 4, "checkpoints": 2}, print)
    assert fit.status[0] == "ok"
    assert fit.status[1] == "not solved: train particles are not finite numbers"


@pytest.mark.parametrize("lost", ["nothing", "not finite", "above the limit"])
def test_a_training_ends_where_every_seed_is_taken_or_lost(lost):
    """A population at rest is taken at the first checkpoint with a mean loss below zero."""
    data, limit = simulated("flat", n_train=120, seeds=[0, 3]), 1e6
    if lost == "not finite":
        data.x[data.rows(1, "train", 2)[0]] = np.nan
    elif lost == "above the limit":
        # One snapshot far from all others: no step of a network comes there.
        data.x[data.rows(1, "train", 2)] += 40
        limit = 50
    lines = []
    settings = SETTINGS | {"checkpoints": 50, "loss_limit": limit}
    fit = weak_form_neural.fit(Problem(data), settings, lines.append)
    taken = [int(line.split()[-1]) for line in lines if "taken after step" in line]
    assert fit.status[0] == "ok" and (fit.status[1] == "ok") == (lost == "nothing")
    assert len(fit.history) == 2 * max(taken) < 2 * SETTINGS["steps"]


def test_a_quadratic_is_found_and_the_training_ends_before_it_follows_the_noise():
    lines, data = [], simulated(n_train=600, seeds=[0, 1])
    fit = weak_form_neural.fit(Problem(data), SETTINGS, lines.append)
    taken = [int(line.split()[-1]) for line in lines if "taken after step" in line]
    assert fit.status == ["ok", "ok"] and len(fit.history) == 2 * max(taken)
    assert len(taken) == 2 and min(taken) < SETTINGS["steps"]
    for s in range(2):
        energy = weak_form_neural.energy(
            jax.tree.map(lambda leaf, s=s: jnp.asarray(leaf[s]), fit.params), SETTINGS
        )
        x = jnp.asarray(np.random.default_rng(0).uniform(-3, 3, (50, 2)), jnp.float32)
        slope = jax.vmap(lambda z, e=energy: jax.grad(e.potential)(z, jnp.float32(0)))(x)
        # V = -10 |x|^2: the particles move by a fifth of their place in a step.
        assert np.sqrt(np.mean((slope + 20 * x) ** 2) / np.mean((20 * x) ** 2)) < 0.3


def spreading() -> tuple[Clouds, weak_form_neural.Means, dict]:
    """Particles and means of a small cube that noise spreads, and parameters with a V that is zero."""
    data = simulated("flat", beta=0.5, initial=SMALL)
    cloud, known, _ = single(weak_form_neural.known_of(data, 0, 200, SETTINGS)[0])
    return cloud, known, {"nets": jax.tree.map(jnp.zeros_like, nets()), "beta": jnp.zeros(())}


def test_beta_goes_to_the_least_product_of_the_halves():
    """Along r_A . r_B at some hundred values, for a network and a cut that stay."""
    cloud, known, params = spreading()
    advance, residuals = jax.jit(weak_form_neural.next_beta), jax.jit(weak_form_neural.residuals)
    for _ in range(300):
        params["beta"] = advance(params, cloud, known)

    def product(beta):
        both = [
            residuals(params["nets"], beta, half, known) for half in weak_form_neural.halves(cloud)
        ]
        return float(both[0] @ both[1])

    values = [product(params["beta"] * jnp.float32(share)) for share in np.linspace(0, 2, 201)]
    assert params["beta"] > 0 and values[100] < min(values) + 1e-3 * np.ptp(values)


def test_a_step_of_beta_is_a_tenth_of_that_of_newton():
    """With derivatives by the laplacians of the test functions, whose means grow by h beta times them."""
    cloud, known, params = spreading()
    tests = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), known.tests)
    tests["monomials"] = np.asarray(known.tests["monomials"])
    r, slope = [], []
    for half in weak_form_neural.halves(cloud):
        r.append(
            np.asarray(weak_form_neural.residuals(params["nets"], params["beta"], half, known))
        )
        z = np.asarray(half.z, np.float64)
        grown = [h * heat.laplacians(tests, z[:, k]).mean(axis=0) for k, h in enumerate(known.h)]
        slope.append(-np.asarray(known.whiten, np.float64) @ np.concatenate(grown))
    whole = (slope[0] + slope[1]) / 2
    change = (r[0] @ slope[1] + slope[0] @ r[1]) / 2 / (whole @ whole)
    assert change < 0
    found = weak_form_neural.next_beta(params, cloud, known)
    assert float(found) == pytest.approx(-0.1 * change, rel=1e-3)
    # A step below zero ends there.
    shrinking = known._replace(h=-known.h)
    assert weak_form_neural.next_beta(params, cloud, shrinking) == 0


def test_beta_of_a_small_cloud_that_spreads_is_found_beside_a_network(tmp_path):
    """Noise blurs the edges of a cube, which a V that drives it apart leaves sharp."""
    data = simulated("flat", n_train=600, seeds=[0, 1, 2], beta=0.5, initial=SMALL)
    settings, lines = SETTINGS | {"terms": ["entropy", "potential"]}, []
    fit = weak_form_neural.fit(Problem(data), settings, lines.append)
    taken = [int(line.split()[-1]) for line in lines if "taken after step" in line]
    methods.save(fit, data.seed, tmp_path / "fit.msgpack")
    learned, status = methods.load(tmp_path / "fit.msgpack", settings)
    assert status == ["ok"] * 3
    for s, (found, step) in enumerate(zip(learned, taken, strict=True)):
        assert float(found.energy.beta) == pytest.approx(0.5, abs=0.2)
        rows = fit.history[(fit.history.seed == s) & (fit.history.epoch == step)]
        assert float(found.energy.beta) == pytest.approx(float(rows.beta.iloc[0]), rel=1e-5)


def test_no_beta_is_made_of_a_population_at_rest():
    data = simulated("flat", n_train=600, seeds=[0, 1, 2], initial=SMALL)
    settings = SETTINGS | {"terms": ["potential", "entropy"]}
    fit = weak_form_neural.fit(Problem(data), settings, [].append)
    assert (fit.history.beta >= 0).all()
    assert np.mean(fit.params["beta"] * fit.params["units"]["scale"]) < 0.05


def test_too_few_particles_are_said():
    with pytest.raises(ValueError, match="test functions need at least"):
        weak_form_neural.fit(
            Problem(simulated(n_train=8)), SETTINGS | {"largest_share": 0.9}, print
        )
