"""Pulls of an interaction: against automatic derivatives of chi, pair by pair, whole and in blocks."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jko import pulls
from jko.slopes import of_all
from jko.weak_energy import kernels

rng = np.random.default_rng(2)
KERNEL = {"ranges": np.array([0.5, 2.0]), "forms": np.array([[0, 1], [2, 2], [1, 2]])}
CLOUD = rng.normal(size=(11, 3))


@pytest.fixture(params=["whole", "in blocks"], autouse=True)
def blocks(request, monkeypatch):
    if request.param == "in blocks":
        monkeypatch.setattr(pulls, "_BLOCK", 40)


def pull(z: np.ndarray) -> np.ndarray:
    """grad chi(z): (d, q)."""
    with jax.enable_x64(True):
        return np.asarray(jax.jacfwd(kernels, argnums=1)(KERNEL, jnp.asarray(z))).T


def test_mean_gradients_are_those_of_the_others_one_by_one():
    assert pulls.count(KERNEL) == 6
    found = pulls.mean_gradients(KERNEL, CLOUD)
    for i, x in enumerate(CLOUD):
        total = sum(pull(x - y) for j, y in enumerate(CLOUD) if j != i)
        np.testing.assert_allclose(found[i], total / 10, rtol=1e-10, atol=1e-12)


def test_the_score_of_partners_is_a_sum_over_pairs():
    points, slope, seen = CLOUD[3:8], rng.normal(size=(5, 3, 4)), rng.normal(size=(11, 4))
    found = pulls.weighted_gradients(KERNEL, CLOUD, points, of_all(slope), seen)
    total = np.zeros(6)
    for x, slopes in zip(points, slope, strict=True):
        for y, v in zip(CLOUD, seen, strict=True):
            total += (slopes @ v) @ pull(x - y)
    np.testing.assert_allclose(found, total / 10, rtol=1e-10)
