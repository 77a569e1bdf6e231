"""The energy of a posterior of the weak form: its terms by their formulas, and its covariance by that of its coefficients."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jko import weak_energy
from jko.features import monomials

FACTORS = monomials(2, 2, 30)


def params(powers):
    rng, p = np.random.default_rng(0), len(FACTORS) + 2
    root = rng.normal(size=(powers * p, powers * p))
    found = {
        "theta": rng.normal(size=(powers, p)),
        "omega": rng.normal(size=5),
        "ranges": np.array([0.5, 2.0]),
        "forms": np.array([[0, 1], [1, 1]]),
        "beta": 0.3,
        "beta_deviation": 0.1,
        "covariance": (root @ root.T).reshape(powers, p, powers, p),
        "misfit": 1.1,
        "evidence": -12.0,
        "basis": {
            "monomials": FACTORS,
            "centers": np.array([[0.5, 0.0], [-1.0, 1.0]]),
            "sigma": 0.8,
        },
        "units": {
            "center": np.array([1.0, -1.0]),
            "width": 2.0,
            "scale": 5.0,
            "time_center": 3.0,
            "time_width": 1.5,
        },
    }
    single = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), found)
    return single | {"basis": single["basis"] | {"monomials": FACTORS}, "forms": found["forms"]}


def test_the_terms_are_their_formulas():
    found, x, t = params(3), np.array([0.3, -0.4]), 2.4
    z, r = (x - [1.0, -1.0]) / 2, (t - 3) / 1.5
    powers = np.array([1, r, (3 * r**2 - 1) / 2])
    psi = [np.prod(np.append(z, 1.0)[row]) for row in FACTORS]
    psi += [np.exp(-np.sum((z - c) ** 2) / 0.8) for c in np.asarray(found["basis"]["centers"])]
    value = weak_energy.potential(found, jnp.asarray(x, jnp.float32), jnp.float32(t))
    assert value == pytest.approx(5 * powers @ np.asarray(found["theta"]) @ psi, rel=1e-4)
    gap, product = np.sum((x / 2) ** 2), x[0] * x[1] / 4
    chi = np.array([np.exp(-gap / 0.5), np.exp(-gap / 2), gap / 2, product, x[1] ** 2 / 4])
    value = weak_energy.interaction(found, jnp.asarray(x, jnp.float32))
    assert value == pytest.approx(5 * np.asarray(found["omega"]) @ chi, rel=1e-5)


@pytest.mark.parametrize("powers", [1, 3])
def test_the_covariance_of_the_gradient_is_that_of_its_coefficients(powers):
    found, x, t = params(powers), jnp.array([0.3, -0.4]), jnp.float32(2.4)

    def slope(theta):
        return jax.grad(weak_energy.potential, argnums=1)(found | {"theta": theta}, x, t)

    by_theta = np.asarray(jax.jacobian(slope)(found["theta"])).reshape(2, -1)
    covariance = np.asarray(found["covariance"]).reshape(by_theta.shape[1], -1)
    expected = by_theta @ covariance @ by_theta.T
    np.testing.assert_allclose(
        weak_energy.gradient_covariance(found, x, t), expected, rtol=1e-3, atol=1e-3
    )


def test_only_what_was_learned_has_a_posterior():
    found = weak_energy.uncertainty(params(1), {"terms": ["potential"]})
    assert (found.misfit, found.evidence) == pytest.approx((1.1, -12.0)) and found.beta is None
    found = weak_energy.uncertainty(params(1), {"terms": ["potential", "entropy"]})
    assert (found.beta, found.beta_deviation) == pytest.approx((0.3, 0.1))
    energy = weak_energy.energy(params(1), {"terms": ["potential", "interaction"]})
    assert energy.interaction is not None and float(energy.beta) == pytest.approx(0.3)
