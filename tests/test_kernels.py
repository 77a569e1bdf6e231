from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jko import kernels
from jko.kernels import KERNELS
from jko.potentials import POTENTIALS

OWN = ("gaussian_attraction", "quadratic", "quartic_quadratic")


def test_every_potential_is_a_kernel_under_its_own_name():
    assert set(KERNELS) == set(POTENTIALS) | set(OWN)
    assert all(KERNELS[name] is POTENTIALS[name] for name in POTENTIALS)


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("d", [1, 2, 10])
def test_own_kernels_are_even_and_exert_no_force_on_the_particle_itself(name, d):
    z = jnp.asarray(np.random.default_rng(0).normal(size=d), jnp.float32)
    kernel = KERNELS[name]
    assert kernel(z).shape == () and kernel(z).dtype == z.dtype
    np.testing.assert_allclose(kernel(z), kernel(-z), rtol=1e-6)
    np.testing.assert_array_equal(jax.grad(kernel)(jnp.zeros(d)), np.zeros(d))


@pytest.mark.parametrize(
    ("name", "force"),
    [
        ("gaussian_attraction", lambda z: 4.4 * z * np.exp(-np.sum(z**2))),
        ("quadratic", lambda z: z),
        ("quartic_quadratic", lambda z: (np.sum(z**2) - 1) * z),
    ],
)
def test_gradients_in_closed_form(name, force):
    for z in np.random.default_rng(1).normal(size=(20, 3)):
        gradient = jax.grad(KERNELS[name])(jnp.asarray(z, jnp.float32))
        np.testing.assert_allclose(gradient, force(z), rtol=1e-4, atol=1e-6)


def test_an_unknown_name_is_an_error_that_lists_the_known_ones():
    with pytest.raises(ValueError, match="'gravity'.*registered: .*quadratic"):
        kernels.get("gravity")
    assert kernels.get("quadratic") is KERNELS["quadratic"]


def test_a_kernel_may_not_take_the_name_of_a_potential():
    def sphere(z):
        return z

    with pytest.raises(ValueError, match="'sphere' is registered twice"):
        kernels.register(sphere)
