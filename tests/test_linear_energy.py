"""The energy of a closed form: its terms by their formulas, and W's mean over a population by all pairs."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jko import energies, linear_energy
from jko.features import kernel_basis, potential_basis

T = jnp.float32(0.0)


def params(d, seed=0, most=130):
    """Of V, W and beta, whose units are not those of the standard cloud."""
    rng = np.random.default_rng(seed)
    cloud = rng.normal(size=(40, d))
    of_v = potential_basis(cloud, rng, degree=3, most=100, centers=3, bump_width=2.0)
    of_w = kernel_basis([cloud], rng, degree=4, most=most, waves=4, width=0.5)
    count = {"potential": len(of_v["monomials"]) + 3, "interaction": len(of_w["monomials"]) + 4}
    units = {"center": np.full(d, 0.7), "width": np.linspace(0.8, 1.4, d), "scale": 2.5}
    found = {"units": units | {"time_center": 0.0, "time_width": 1.0}, "entropy": 0.3}
    for term, basis in (("potential", of_v), ("interaction", of_w)):
        found[term] = {"theta": rng.normal(size=count[term]) / count[term], "basis": basis}
    return jax.tree.map(as_single, found)


def as_single(leaf):
    leaf = np.asarray(leaf)
    return jnp.asarray(leaf, jnp.float32 if leaf.dtype == np.float64 else leaf.dtype)


def cloud_of(n, d):
    return jnp.asarray(1 + np.random.default_rng(1).normal(size=(n, d)), jnp.float32)


def by_hand(term, units, z, second):
    """scale (theta . [monomials, second]) at z in standardised units, by numpy."""
    factors = np.asarray(term["basis"]["monomials"])
    powers = np.prod(np.append(z, 1.0)[factors], axis=1)
    return float(units["scale"] * term["theta"] @ np.concatenate([powers, second]))


def test_terms_by_their_formulas():
    found, x = params(2), np.array([0.3, -1.1])
    energy, units = linear_energy.energy(found, {}), jax.tree.map(np.asarray, found["units"])
    z = (x - units["center"]) / units["width"]
    basis = found["potential"]["basis"]
    bumps = np.exp(-np.sum((z - np.asarray(basis["centers"])) ** 2, axis=1) / basis["sigma"])
    expected = by_hand(found["potential"], units, z, bumps)
    assert float(energy.potential(x.astype(np.float32), T)) == pytest.approx(expected, rel=1e-4)
    z = x / units["width"]
    waves = np.cos(np.asarray(found["interaction"]["basis"]["waves"]) @ z)
    expected = by_hand(found["interaction"], units, z, waves)
    assert float(energy.interaction(x.astype(np.float32))) == pytest.approx(expected, rel=1e-4)
    assert float(energy.beta) == pytest.approx(2.5 * 0.3)


def test_terms_that_are_not_there():
    whole = params(2)
    only = linear_energy.energy({name: whole[name] for name in ("units", "interaction")}, {})
    assert only.beta == 0 and float(only.potential(jnp.ones(2), T)) == 0
    assert linear_energy.energy({"units": whole["units"]}, {}).interaction is None


@pytest.mark.parametrize("place", [0, 30])
@pytest.mark.parametrize("d", [1, 2, 5, 12])
def test_pulls_without_pairs_are_those_of_all_pairs(d, place):
    """In blocks of particles, the last of which is not full; and far from where the energy was learned."""
    kernel = linear_energy.energy(params(d), {}).interaction
    cloud = place + cloud_of(300, d)
    pulls, height = energies.mean_pulls(kernel, cloud)
    expected, mean = energies.mean_pulls(kernel.kernel, cloud)
    np.testing.assert_allclose(pulls, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
    assert float(height) == pytest.approx(float(mean), rel=1e-4)


def test_pulls_of_ten_thousand_particles_in_fifty_dimensions_fit_memory():
    """The products of 1275 monomials for all particles at once would take 1.8 GB."""
    kernel = linear_energy.energy(params(50, most=1400), {}).interaction
    assert len(kernel.kernel.args[0]["interaction"]["basis"]["monomials"]) == 1275
    cloud = jax.ShapeDtypeStruct((10_000, 50), jnp.float32)
    pulls = jax.jit(energies.mean_pulls).lower(kernel, cloud).compile()
    assert pulls.memory_analysis().temp_size_in_bytes < 100e6
