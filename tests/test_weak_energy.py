"""The energy of a posterior of the weak form: its terms by their formulas, and its covariance by that of its coefficients."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jko import weak_energy
from jko.evidence import Posterior
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
    assert found.beta is None
    found = weak_energy.uncertainty(params(1), {"terms": ["potential", "entropy"]})
    assert (found.beta, found.beta_deviation) == pytest.approx((0.3, 0.1))
    energy = weak_energy.energy(params(1), {"terms": ["potential", "interaction"]})
    assert energy.interaction is not None and float(energy.beta) == pytest.approx(0.3)


def test_parameters_say_what_the_data_add_to_the_prior():
    """Precision of two scales: 1 / v and what the data add of it, which need not be diagonal."""
    settings = {"terms": ["potential", "interaction", "entropy"], "time_degree": 0}
    basis = {"monomials": FACTORS, "centers": np.zeros((2, 2)), "sigma": 0.8}
    kernel = {"ranges": np.array([0.5, 2.0]), "forms": np.array([[0, 1], [1, 1]])}
    p, q = len(FACTORS) + 2, 5
    group = np.array([0] * p + [1] * q + [2])
    variance, rng = np.array([2.0, 0.5, 3.0]), np.random.default_rng(0)
    half = rng.normal(size=(p + q + 1, 30))
    gram = half @ half.T
    covariance = np.linalg.inv(gram + np.diag(1 / variance[group]))
    mean = rng.normal(size=p + q + 1)
    known = np.bincount(group, 1 - np.diag(covariance) / variance[group])
    found = Posterior(mean, covariance, np.log(variance), -3.0, known)
    units = params(1)["units"]
    made = weak_energy.parameters(
        found, {"misfit": 1.2, "snapshots": 4}, basis, np.eye(len(FACTORS)), kernel, group, units,
        settings,
    )  # fmt: skip
    root = np.sqrt(variance[group])
    matrix = np.eye(p + q + 1) + root[:, None] * gram * root
    assert made["condition"] == pytest.approx(np.linalg.cond(matrix), rel=1e-6)
    assert (made["known_potential"], made["known_interaction"]) == pytest.approx(known[:2])
    np.testing.assert_allclose(made["theta"], mean[None, :p])
    np.testing.assert_allclose(made["omega"], mean[p : p + q])
    scale = float(units["scale"])
    assert made["beta"] == pytest.approx(scale * mean[-1])
    assert made["beta_deviation"] == pytest.approx(scale * np.sqrt(covariance[-1, -1]))
    assert (made["misfit"], made["snapshots"], made["evidence"]) == (1.2, 4, -3.0)
