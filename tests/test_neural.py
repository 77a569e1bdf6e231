"""Learned terms: which there are, their units, and what holds for them whatever the weights."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jko import neural
from jko.energies import drift, velocity

UNITS = {
    "center": jnp.array([1.0, -2.0]),
    "width": jnp.float32(3.0),
    "scale": jnp.float32(0.5),
    "time_center": jnp.float32(4.0),
    "time_width": jnp.float32(2.0),
}
SUBSETS = [terms for n in (1, 2, 3) for terms in itertools.combinations(neural.TERMS, n)]


def nets_of(terms=neural.TERMS, time_varying=False, seed=0):
    return neural.init(jax.random.key(seed), 2, terms, time_varying, [8, 5])


def by_hand(net, inputs):
    """The network of two hidden softplus layers in numpy."""
    layers, x = jax.tree.map(np.asarray, net)["params"], np.asarray(inputs)
    for i in (0, 1):
        x = np.log1p(np.exp(x @ layers[f"Dense_{i}"]["kernel"] + layers[f"Dense_{i}"]["bias"]))
    return (x @ layers["Dense_2"]["kernel"] + layers["Dense_2"]["bias"])[0]


@pytest.mark.parametrize("terms", SUBSETS, ids="+".join)
def test_an_energy_has_the_terms_that_were_asked_for(terms):
    nets = nets_of(terms)
    assert set(nets) == set(terms)
    energy = neural.energy({"nets": nets, "units": UNITS})
    assert (energy.interaction is not None) == ("interaction" in terms)
    assert (energy.beta > 0) == ("entropy" in terms)
    assert "entropy" in terms or energy.beta == 0
    x = jnp.array([0.3, 0.7])
    gradient = jax.grad(energy.potential)(x, jnp.float32(1))
    assert np.any(gradient != 0) == ("potential" in terms)
    assert energy.potential(x, jnp.float32(1)).dtype == jnp.float32


def test_a_term_starts_alike_whatever_the_others_are():
    alone, together = nets_of(["potential"]), nets_of()
    for one, other in zip(
        jax.tree.leaves(alone["potential"]), jax.tree.leaves(together["potential"]), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    first = [together[term]["params"]["Dense_1"]["kernel"] for term in ("potential", "interaction")]
    assert not np.allclose(*first)


@pytest.mark.parametrize("time_varying", [False, True])
def test_the_potential_is_the_network_in_its_units(time_varying):
    nets = nets_of(time_varying=time_varying)
    energy = neural.energy({"nets": nets, "units": UNITS})
    for x, t in ((np.array([4.0, 7.0]), 6.0), (np.array([-2.0, 0.0]), 1.0)):
        z = [*((x - [1, -2]) / 3), *([(t - 4) / 2] if time_varying else [])]
        found = energy.potential(jnp.asarray(x, jnp.float32), jnp.float32(t))
        assert found == pytest.approx(0.5 * by_hand(nets["potential"], z), rel=1e-5)


def test_the_kernel_is_the_even_part_of_its_network_and_pulls_no_particle_to_itself():
    nets = nets_of()
    energy = neural.energy({"nets": nets, "units": UNITS})
    z = np.array([1.5, -0.6], np.float32)
    found, mirrored = energy.interaction(jnp.asarray(z)), energy.interaction(jnp.asarray(-z))
    halves = [by_hand(nets["interaction"], sign * z / 3) for sign in (1, -1)]
    assert abs(halves[0] - halves[1]) > 1e-3
    assert found == mirrored == pytest.approx(0.5 * np.mean(halves), rel=1e-5)
    assert np.all(jax.grad(energy.interaction)(jnp.zeros(2)) == 0)


@pytest.mark.parametrize("raw", [-20.0, -3.0, 0.0, 5.0])
def test_beta_is_positive_whatever_the_raw_number(raw):
    nets = nets_of() | {"entropy": jnp.float32(raw)}
    beta = neural.energy({"nets": nets, "units": UNITS}).beta
    assert beta == pytest.approx(0.5 * np.log1p(np.exp(raw)), rel=1e-5) and beta > 0


def test_the_terms_share_one_unit_of_velocity():
    """Velocity in the data's units: scale / width times what the standardised terms make of it."""
    nets = nets_of()
    energy = neural.energy({"nets": nets, "units": UNITS})
    cloud = jnp.asarray(np.random.default_rng(0).normal(size=(7, 2)), jnp.float32)
    score, t = jnp.array([0.4, -1.1]), jnp.float32(5)
    z = (cloud - UNITS["center"][None, :]) / UNITS["width"]
    pull = jax.vmap(lambda q: jax.grad(neural.w, argnums=1)(nets, z[0] - q))(z)
    inside = jax.grad(neural.v, argnums=1)(nets, z[0], (t - 4) / 2) + jnp.mean(pull, axis=0)
    expected = -(inside + neural.b(nets) * 3 * score) * 0.5 / 3
    found = velocity(energy, cloud[0], t, cloud, score)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    assert not np.allclose(found, drift(energy, cloud[0], t, cloud), rtol=1e-3)
