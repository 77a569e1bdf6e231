"""The convention: signs, the 1/2 of the interaction, and the scale of the noise."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from jko import energies
from jko.energies import Energy, static
from jko.kernels import KERNELS
from jko.potentials import POTENTIALS

# Kernels that are even: W(z) = W(-z), as the derivative of the interaction energy supposes.
EVEN = ["quadratic", "gaussian_attraction", "quartic_quadratic", "sphere"]
# Away from the origin, so that no difference x - y of two particles meets a kink.
CLOUD = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
T = jnp.float32(0.4)


def travelling(x, t):
    """A potential that depends on time: a bowl whose lowest point moves."""
    return 0.5 * jnp.sum((x - t) ** 2) + 0.1 * t * jnp.sum(x**4)


def of_population(energy: Energy, cloud):
    """F without entropy of the particles: mean V + 1/2 mean over pairs of W(x - y)."""
    value = jnp.mean(jax.vmap(energy.potential, in_axes=(0, None))(cloud, T))
    if energy.interaction is not None:
        z = cloud[:, None, :] - cloud[None, :, :]
        value = value + 0.5 * jnp.mean(jax.vmap(jax.vmap(energy.interaction))(z))
    return value


@pytest.mark.parametrize("kernel", [None, *EVEN])
def test_drift_is_minus_the_gradient_of_the_functional_over_particles(kernel):
    energy = Energy(Partial(travelling), None if kernel is None else Partial(KERNELS[kernel]))
    cloud = jnp.asarray(CLOUD)
    oracle = -len(CLOUD) * jax.grad(of_population, argnums=1)(energy, cloud)
    drifts = jax.vmap(lambda x: energies.drift(energy, x, T, cloud))(cloud)
    np.testing.assert_allclose(drifts, oracle, rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize("pairs", [1, 15, 4096])
def test_pulls_of_an_even_part_are_those_of_its_two_halves(monkeypatch, pairs):
    """Pair by pair; in blocks of 1, 2 and 7 of the 7 particles, the last of which may overlap."""
    monkeypatch.setattr(energies, "_BLOCK_PAIRS", pairs)

    def kernel(z):
        return jnp.sin(z[0]) + jnp.sum(z**4) / 8 + z[1] * z[2]

    def halves(z):
        return (kernel(z) + kernel(-z)) / 2

    cloud = jnp.asarray(CLOUD)
    found, height = energies.mean_pulls(energies.Even(Partial(kernel)), cloud)
    z = cloud[:, None, :] - cloud[None, :, :]
    slopes = jax.vmap(jax.vmap(jax.grad(halves)))(z)
    np.testing.assert_allclose(found, slopes.mean(axis=1), rtol=1e-5, atol=1e-5)
    expected = float(jax.vmap(jax.vmap(halves))(z).mean())
    assert float(height) == pytest.approx(expected, rel=1e-5)
    whole, mean = energies.mean_pulls(Partial(kernel), cloud)
    one_sided = jax.vmap(jax.vmap(jax.grad(kernel)))(z).mean(axis=1)
    np.testing.assert_allclose(whole, one_sided, rtol=1e-5, atol=1e-5)
    assert float(mean) == pytest.approx(expected, rel=1e-5) and not np.allclose(whole, found)
    energy = Energy(Partial(travelling), energies.Even(Partial(kernel)))
    slope = jax.vmap(jax.grad(travelling), in_axes=(0, None))(cloud, T)
    np.testing.assert_allclose(
        energies.drifts(energy, cloud, T), -slope - found, rtol=1e-5, atol=1e-5
    )


def test_the_pulls_of_ten_thousand_particles_fit_memory():
    """Where the slopes of all pairs at once would take 10,000^2 d numbers, 800 MB for d = 2."""
    cloud = jax.ShapeDtypeStruct((10_000, 2), jnp.float32)
    pulls = jax.jit(energies.mean_pulls).lower(Partial(KERNELS["flowers"]), cloud).compile()
    assert pulls.memory_analysis().temp_size_in_bytes < 20e6


@pytest.mark.parametrize("kernel", [None, "quadratic", "flowers"])
def test_drift_is_minus_the_gradient_of_the_first_variation_without_entropy(kernel):
    energy = Energy(Partial(travelling), None if kernel is None else Partial(KERNELS[kernel]), 0.7)
    cloud, x = jnp.asarray(CLOUD), jnp.array([0.31, -1.2, 2.05])
    zero = jnp.zeros(())
    gradient = jax.grad(lambda x: energies.first_variation(energy, x, T, cloud, zero))(x)
    np.testing.assert_allclose(energies.drift(energy, x, T, cloud), -gradient, rtol=1e-5)


def test_first_variation_is_the_derivative_of_the_functional_along_a_change_of_mass():
    """d/ds F((1 - s) rho + s delta_x) at s = 0: first variation at x minus its mean over rho."""
    energy = Energy(Partial(travelling), Partial(KERNELS["gaussian_attraction"]))
    cloud, x = jnp.asarray(CLOUD), jnp.array([0.31, -1.2, 2.05])
    points = jnp.concatenate([cloud, x[None]])

    def functional(s):
        mass = jnp.append((1 - s) * jnp.full(len(CLOUD), 1 / len(CLOUD), jnp.float32), s)
        values = jax.vmap(energy.potential, in_axes=(0, None))(points, T)
        z = points[:, None, :] - points[None, :, :]
        return mass @ values + 0.5 * mass @ jax.vmap(jax.vmap(energy.interaction))(z) @ mass

    def variation(x):
        return energies.first_variation(energy, x, T, cloud, jnp.zeros(()))

    expected = jax.grad(functional)(jnp.float32(0))
    found = variation(x) - jnp.mean(jax.vmap(variation)(cloud))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_entropy_enters_as_beta_times_the_log_density():
    energy, still = Energy(static(POTENTIALS["flowers"]), None, 0.3), Energy(
        static(POTENTIALS["flowers"])
    )
    cloud, x = jnp.asarray(CLOUD), jnp.array([0.3, 0.2, 0.1])
    with_entropy = energies.first_variation(energy, x, T, cloud, jnp.float32(-2.0))
    without = energies.first_variation(still, x, T, cloud, jnp.float32(-2.0))
    np.testing.assert_allclose(with_entropy - without, -0.6, rtol=1e-5)


def test_a_gibbs_measure_stands_still():
    """rho = exp(-V / beta) / Z is a critical point: constant first variation and zero velocity."""
    beta, stiffness = 0.4, 1.7
    energy = Energy(static(lambda x: 0.5 * stiffness * jnp.sum(x**2)), None, beta)
    variance = beta / stiffness

    def log_density(x):
        return -jnp.sum(x**2) / (2 * variance)

    points, cloud = jnp.asarray(CLOUD), jnp.zeros((1, 3))
    values = [energies.first_variation(energy, x, T, cloud, log_density(x)) for x in points]
    np.testing.assert_allclose(values, values[0], atol=1e-5)
    for x in points:
        velocity = energies.velocity(energy, x, T, cloud, jax.grad(log_density)(x))
        np.testing.assert_allclose(velocity, 0, atol=1e-5)
        assert np.linalg.norm(energies.drift(energy, x, T, cloud)) > 0.1


def test_noise_scale_is_the_root_of_twice_tau_beta():
    energy = Energy(static(POTENTIALS["flat"]), None, 0.08)
    np.testing.assert_allclose(energies.noise_scale(energy, jnp.float32(0.25)), 0.2, rtol=1e-6)
    assert energies.noise_scale(energy._replace(beta=0.0), jnp.float32(0.25)) == 0


def test_nothing_moves_under_the_zero_energy():
    cloud = jnp.asarray(CLOUD)
    drift = energies.drift(energies.zero_energy(), cloud[0], T, cloud)
    assert drift.shape == (3,) and not np.asarray(drift).any()


def test_an_energy_is_an_argument_of_compiled_functions():
    @jax.jit
    def drift(energy, x):
        return energies.drift(energy, x, T, jnp.asarray(CLOUD))

    bowl = Energy(Partial(lambda scale, x, t: scale * jnp.sum(x**2), jnp.float32(1.5)), None, 0.0)
    x = jnp.array([1.0, -2.0, 0.5])
    np.testing.assert_allclose(drift(bowl, x), -3.0 * x, rtol=1e-6)
    stronger = jax.tree.map(lambda leaf: 2 * leaf, bowl)
    np.testing.assert_allclose(drift(stronger, x), -6.0 * x, rtol=1e-6)
    assert drift._cache_size() == 1


def test_blocks_of_particles_change_nothing(monkeypatch):
    energy = Energy(static(POTENTIALS["flowers"]), Partial(KERNELS["zigzag_ridge"]))
    cloud = jax.random.normal(jax.random.key(2), (37, 3))
    each = jax.vmap(lambda x: energies.drift(energy, x, jnp.zeros(()), cloud))(cloud)
    for pairs in (1, 5 * 37, 37 * 37):  # one particle, five (and two left over), all
        monkeypatch.setattr(energies, "_BLOCK_PAIRS", pairs)
        found = energies.drifts(energy, cloud, jnp.zeros(()))
        np.testing.assert_allclose(found, each, rtol=1e-5, atol=1e-5)
