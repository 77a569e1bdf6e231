"""Networks fitted to a known field: slopes by hand, a field that parameters can be, and seeds apart."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from jko import distillation
from jko.batches import Clouds
from jko.energies import Energy
from jko.pairs import Pairs

rng = np.random.default_rng(4)
UNITS = {
    "center": jnp.array([[1.0, -2.0], [0.5, 0.0]]),
    "width": jnp.array([2.0, 0.5]),
    "scale": jnp.array([3.0, 1.0]),
    "time_center": jnp.array([1.5, 0.0]),
    "time_width": jnp.array([0.5, 2.0]),
}


def test_slopes_at_particles_are_those_of_the_potential_in_standardised_units():
    """V = (1 + t) |x|^2 / 2 has the gradient (1 + t) x."""
    energy = Energy(lambda x, t: (1 + t) * jnp.sum(x**2) / 2)
    clouds = Clouds(
        jnp.asarray(rng.normal(size=(2, 5, 3, 2)), jnp.float32),
        jnp.asarray(rng.uniform(1, 2, size=(2, 5, 3)), jnp.float32),
    )
    time = jnp.array([[-1.0, 0.0, 1.0], [0.0, 0.5, 1.5]])
    found = distillation.at_particles([energy, None], clouds, time, UNITS)
    assert found.x.shape == (2, 15, 2) and np.isnan(found.target[1]).all()
    for p in range(5):
        for k in range(3):
            row, z, t = 3 * p + k, clouds.z[0, p, k], time[0, k]
            np.testing.assert_array_equal(found.x[0, row], z)
            assert found.t[0, row] == t
            x = np.array([1.0, -2.0]) + 2.0 * np.asarray(z)
            slope = 2.0 / 3.0 * (1 + 1.5 + 0.5 * float(t)) * x
            np.testing.assert_allclose(found.target[0, row], slope, rtol=1e-5)
    np.testing.assert_allclose(found.weight.mean(axis=1), 1, rtol=1e-5)
    share = found.weight[0] / np.asarray(clouds.weight[0]).ravel()
    np.testing.assert_allclose(share, share[0], rtol=1e-5)


def test_a_field_that_parameters_can_be_is_found_and_a_seed_without_one_harms_no_other():
    def field(params, x, t):
        return params["matrix"] @ x + t * params["shift"]

    truth = {"matrix": jnp.array([[1.0, 2.0], [-0.5, 0.3]]), "shift": jnp.array([0.7, -1.0])}
    x = jnp.asarray(rng.normal(size=(2, 60, 2)), jnp.float32)
    t = jnp.asarray(rng.normal(size=(2, 60)), jnp.float32)
    target = jax.vmap(jax.vmap(field, in_axes=(None, 0, 0)), in_axes=(None, 0, 0))(truth, x, t)
    # A row of weight 0 has no say.
    weight, wrong = jnp.ones((2, 60)).at[:, 7].set(0), target.at[:, 7].add(100)
    keys, lines = jax.random.split(jax.random.key(0)), []

    def learn(target):
        start = jax.tree.map(lambda leaf: jnp.zeros((2, *leaf.shape)), truth)
        pairs = Pairs(x, t, target, weight)
        return distillation.distilled(field, start, pairs, keys, 4000, 20, lines.append)

    found, hurt = learn(wrong), learn(wrong.at[1].set(jnp.nan))
    for name, expected in truth.items():
        for s in (0, 1):
            np.testing.assert_allclose(found[name][s], expected, atol=1e-3)
        np.testing.assert_array_equal(hurt[name][0], found[name][0])
        assert np.isnan(hurt[name][1]).all()
    assert lines[-1].startswith("left of the field's square: ") and lines[-1].endswith(" nan")
