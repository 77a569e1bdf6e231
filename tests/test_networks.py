"""The network against its formula in numpy."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jko.networks import ICNN, MLP, apply_icnn


def test_the_network_is_its_formula():
    net = MLP((5, 3))
    params = net.init(jax.random.key(0), jnp.zeros(4))
    layers = jax.tree.map(np.asarray, params["params"])
    assert [layers[f"Dense_{i}"]["kernel"].shape for i in range(3)] == [(4, 5), (5, 3), (3, 1)]
    x = h = np.array([0.3, -1.0, 2.0, 0.1], np.float32)
    for i in (0, 1):
        h = np.log1p(np.exp(h @ layers[f"Dense_{i}"]["kernel"] + layers[f"Dense_{i}"]["bias"]))
    expected = (h @ layers["Dense_2"]["kernel"] + layers["Dense_2"]["bias"]).item()
    found = net.apply(params, jnp.asarray(x))
    assert found.shape == () and found.dtype == jnp.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_map_has_as_many_outputs_as_asked_and_its_own_activation():
    net = MLP((5,), 3, jax.nn.selu)
    params = net.init(jax.random.key(0), jnp.zeros(4))
    first, last = (params["params"][f"Dense_{i}"] for i in (0, 1))
    x = np.array([0.3, -1.0, 2.0, 0.1], np.float32)
    h = x @ first["kernel"] + first["bias"]
    h = 1.0507009873554805 * np.where(h > 0, h, 1.6732632423543772 * np.expm1(h))
    found = net.apply(params, jnp.asarray(x))
    assert found.shape == (3,)
    np.testing.assert_allclose(found, h @ last["kernel"] + last["bias"], rtol=1e-5)


def test_the_convex_network_is_its_formula():
    net = ICNN((5, 3))
    params = net.init(jax.random.key(0), jnp.zeros(4))
    layers = jax.tree.map(np.asarray, params["params"])
    x, z = np.array([0.3, -1.0, 2.0, 0.1], np.float32), None
    for i, width in enumerate((5, 3, 1)):
        inputs = x @ layers[f"Dense_{i}"]["kernel"] + layers[f"Dense_{i}"]["bias"]
        if z is not None:
            positive = np.log1p(np.exp(layers[f"positive_{i}"])) / z.size
            assert positive.shape == (z.size, width) and (positive > 0).all()
            inputs = inputs + z @ positive
        z = np.log1p(np.exp(inputs))
    for found in (net.apply(params, jnp.asarray(x)), apply_icnn(params, jnp.asarray(x))):
        assert found.shape == ()
        np.testing.assert_allclose(found, z.item(), rtol=1e-5)


def test_the_convex_network_begins_with_normal_weights():
    layers = ICNN((64, 64)).init(jax.random.key(3), jnp.zeros(8))["params"]
    for weights in (layers["Dense_1"]["kernel"], layers["positive_1"]):
        values = np.ravel(weights)
        # Of a normal law 0.68 are within a deviation and 0.05 beyond two; of a uniform one 0.58 and none.
        assert values.std() == pytest.approx(0.1, rel=0.1)
        assert np.mean(np.abs(values) < 0.1) == pytest.approx(0.68, abs=0.04)
        assert 0.03 < np.mean(np.abs(values) > 0.2) < 0.07


def test_the_convex_network_lies_below_its_chords():
    """phi(s x + (1 - s) y) <= s phi(x) + (1 - s) phi(y) on random segments, also far from the data."""
    rng = np.random.default_rng(0)
    x, y = (jnp.asarray(rng.normal(scale=3, size=(500, 4)), jnp.float32) for _ in range(2))
    s = jnp.asarray(rng.uniform(size=(500, 1)), jnp.float32)
    for seed in range(3):
        params = ICNN((64, 64)).init(jax.random.key(seed), x[0])
        phi = jax.jit(jax.vmap(lambda point, params=params: apply_icnn(params, point)))
        below = s[:, 0] * phi(x) + (1 - s[:, 0]) * phi(y) - phi(s * x + (1 - s) * y)
        # Convex up to rounding, and no plane.
        assert below.min() > -1e-5 and below.max() > 1e-2
