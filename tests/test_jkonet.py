"""JKOnet: chained and forced predictions by hand, potentials that it must find, settings that contradict each other."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from clouds import followed, observed
from jko import neural
from jko.batches import Clouds
from jko.jko_maps import Loop, Reach
from jko.methods import Problem, jkonet
from jko.methods.jkonet import Known
from learning import settings_of, silent

rng = np.random.default_rng(3)
Z = jnp.asarray(rng.normal(size=(7, 3, 2)), jnp.float32)  # 7 particles of 3 snapshots
WEIGHT = jnp.ones((7, 3))
H = jnp.array([0.3, 0.5])
KNOWN = Known(
    h=H,
    end=jnp.array([0.2, 1.0]),
    reach=Reach(H, jnp.ones(2)),
    epsilon=jnp.float32(1.0),
    monge_gap=jnp.float32(0.0),
    unit=jnp.float32(1.0),
)
LOOP = Loop(optax.adam(0.01), 3, 0.0, False, 1e-4, 20)
KEY = jax.random.key(5)


@pytest.mark.parametrize("forced", [False, True])
def test_steps_are_chained_or_forced(forced):
    """v(z, t) = 2 t |z|^2 / 2 by its proximal points: z / (1 + 2 h t), with t at the end of the step."""
    settings = settings_of("jkonet", map="proximal", teacher_forcing=forced)

    def v(nets, z, t):
        return nets * t * jnp.sum(z**2) / 2

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neural, "v", v)
        found = jkonet.predict(
            jnp.float32(2.0), {}, Clouds(Z, WEIGHT), KNOWN, settings, LOOP, KEY
        ).clouds
    first = np.asarray(Z[:, 0]) / (1 + 2 * 0.3 * 0.2)
    source = np.asarray(Z[:, 1]) if forced else first
    np.testing.assert_allclose(found.z[0], first, rtol=1e-5)
    np.testing.assert_allclose(found.z[1], source / (1 + 2 * 0.5 * 1.0), rtol=1e-5)
    assert found.weight.shape == (2, 7)


def shrinking(units: float = 1.0):
    """Every particle follows the JKO steps of V = |x - c|^2, tau = 0.1: towards c = (3, -1), in some unit of length."""
    center = units * np.array([3.0, -1.0])
    return followed(lambda x, k: center + (x - center) / 1.2, n=200, steps=3)[0], center


@pytest.mark.parametrize(
    "changes",
    [
        {"map": "proximal"},
        {"map": "mlp", "warm_start": True, "gradient": "implicit"},
        {"map": "mlp", "warm_start": True, "gradient": "implicit", "teacher_forcing": True},
    ],
    ids=["proximal", "mlp", "mlp, forced"],
)
def test_a_quadratic_potential_is_found(changes):
    data, center = shrinking()
    settings = settings_of(
        "jkonet", epochs=60, batch=100, learning_rate=0.01, loss="divergence", hidden=[32, 32]
    )
    settings |= {"schedule": "cosine", "inner_steps": 20} | changes
    fitted = jkonet.fit(Problem(data), settings, silent)
    assert fitted.status == ["ok"]
    energy = jkonet.energy(jax.tree.map(lambda leaf: leaf[0], fitted.params), settings)
    points = jnp.asarray(data.cloud(0, "test", 2), jnp.float32)
    slope = jax.vmap(jax.grad(energy.potential), in_axes=(0, None))(points, jnp.float32(0.2))
    true = 2 * (np.asarray(points) - center)
    error = np.mean(np.sum((np.asarray(slope) - true) ** 2, axis=1))
    assert error < 0.05 * np.mean(np.sum(true**2, axis=1))
    if changes["map"] != "proximal":
        move = jkonet.transport(jax.tree.map(lambda leaf: leaf[0], fitted.params), settings)
        image = jax.vmap(move, in_axes=(0, None))(points, jnp.int32(2))
        wanted = center + (np.asarray(points) - center) / 1.2
        way = np.mean(np.sum((wanted - np.asarray(points)) ** 2, axis=1))
        assert np.mean(np.sum((np.asarray(image) - wanted) ** 2, axis=1)) < 0.1 * way


def test_raw_units_are_those_of_the_data():
    data = observed(seeds=(0,))
    settings = settings_of("jkonet", units="raw")
    clouds, known, units = jkonet.prepared(Problem(data), 0, 40, settings)
    assert units["width"] == units["scale"] == known.unit == 1 and not units["center"].any()
    np.testing.assert_allclose(known.h, data.tau, rtol=1e-6)
    assert known.epsilon == settings["epsilon"]
    np.testing.assert_array_equal(known.reach.network, 1)
    assert set(map(tuple, clouds.z[:, 0])) <= set(
        map(tuple, data.cloud(0, "train", 0).astype(np.float32))
    )


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"tolerance": 0.1}, "a loop of unknown length cannot be unrolled"),
        ({"map": "icnn", "monge_gap": 1.0}, "map is icnn; it regularises the map mlp"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        jkonet.fit(Problem(observed()), settings_of("jkonet", **changes), silent)
