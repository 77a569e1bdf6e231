"""A velocity that no energy explains, by second routes."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jko import features, heat, model_error, weak

TAU = np.array([0.7, 1.3])


def basis():
    points = np.array([[0.0, 0.5], [-1.0, 0.2], [0.8, -0.9]])
    return {
        "monomials": features.monomials(2, 2, 30),
        "centers": points,
        "sigma": np.array([0.5, 1.0, 2.0]),
    }


def population(n=80, seed=0):
    rng = np.random.default_rng(seed)
    clouds = [rng.normal(size=(n + 5 * k, 2)) for k in range(3)]
    fields = [heat.slopes(basis(), cloud) for cloud in clouds]
    return weak.Population(clouds, TAU, fields, entropy=False)


@pytest.fixture(scope="module")
def noise():
    people = population()
    return weak.noise(people, basis(), np.zeros(8))


def whole(white):
    """S of a noise: (N, N)."""
    return np.linalg.inv(white.inverse)


@pytest.mark.parametrize("block", [2**21, 60])
def test_the_covariance_is_the_mean_product_of_slopes_at_the_end_of_an_interval(block, monkeypatch):
    monkeypatch.setattr(weak, "_BLOCK", block)
    people, m = population(), 8
    found = model_error.covariance(people, basis()).reshape(2, m, 2, m)

    @jax.jit
    def slopes(cloud):
        return jax.vmap(jax.jacobian(lambda z: features.features(basis(), z)))(cloud)  # (n, m, d)

    with jax.enable_x64(True):
        for k, tau in enumerate(TAU):
            there = np.asarray(slopes(jnp.asarray(people.clouds[k + 1])))
            expected = tau**2 * np.einsum("nid,njd->ij", there, there) / len(there)
            np.testing.assert_allclose(found[k, :, k], expected, rtol=1e-9)
    np.testing.assert_array_equal(found[0, :, 1], 0)


def test_random_velocities_move_the_means_of_test_functions_by_that_covariance():
    """u with the variance of one in every orthonormal direction of the slopes, tried out on the particles."""
    people, rng = population(n=400), np.random.default_rng(3)
    cloud, tau = people.clouds[1], 1e-3
    slopes = heat.gradients(basis(), cloud)
    gram = np.einsum("ndi,ndj->ij", slopes, slopes) / len(cloud)
    root = np.linalg.inv(np.linalg.cholesky(gram)).T  # slopes @ root are orthonormal
    moves = []
    for _ in range(2000):
        velocity = slopes @ root @ rng.normal(size=8)
        moved = heat.values(basis(), cloud + tau * velocity).mean(axis=0)
        moves.append((moved - heat.values(basis(), cloud).mean(axis=0)) / tau)
    found = model_error.covariance(people._replace(tau=np.ones(2)), basis())[:8, :8]
    deviation = np.sqrt(np.diag(found))
    error = (np.cov(np.array(moves).T) - found) / deviation[:, None] / deviation[None, :]
    assert np.abs(error).max() < 0.1


@pytest.mark.parametrize("excess", [1.5, 40.0])
def test_the_size_leaves_as_much_of_the_residuals_as_noise_would(excess, noise):
    missed = model_error.covariance(population(), basis())
    residual = np.random.default_rng(1).normal(size=16) @ np.linalg.cholesky(whole(noise)).T
    residual *= np.sqrt(16 * excess / model_error.square(noise, residual))
    delta = model_error.size(noise, missed, residual, 16.0)
    left = residual @ np.linalg.solve(whole(noise) + delta**2 * missed, residual)
    assert delta > 0 and left == pytest.approx(16, rel=1e-4)


def test_residuals_that_are_noise_leave_nothing_to_explain(noise):
    missed = model_error.covariance(population(), basis())
    residual = np.sqrt(np.diag(whole(noise))) * 0.01
    assert model_error.square(noise, residual) < 16
    assert model_error.size(noise, missed, residual, 16.0) == 0


@pytest.mark.parametrize("far, cause", [(np.inf, "not finite"), (1e4, "no velocity")])
def test_residuals_that_nothing_explains_are_a_failure_with_its_cause(far, cause, noise):
    """The velocity moves the first interval alone, and the second one is far off."""
    missed = model_error.covariance(population(), basis())
    missed[8:, 8:] = 0
    with pytest.raises(np.linalg.LinAlgError, match=cause):
        model_error.size(noise, missed, np.append(np.zeros(8), np.full(8, far)), 16.0)


def test_of_what_is_gone_nothing_is_said_in_the_sum_either(noise):
    white = noise._replace(gone=2)
    assert model_error.added(white, np.eye(len(noise.scale))).gone == 2


def test_the_sum_is_a_noise_of_both(noise):
    missed = model_error.covariance(population(), basis())
    both = model_error.added(noise, missed)
    np.testing.assert_allclose(whole(both), whole(noise) + missed, rtol=1e-4, atol=1e-4)
    assert model_error.log_determinant(both) == pytest.approx(
        np.linalg.slogdet(whole(both))[1], abs=1e-6
    )
    residual = np.arange(16.0)
    assert model_error.square(both, residual) == pytest.approx(residual @ both.inverse @ residual)
