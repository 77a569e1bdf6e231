"""What tests of several methods share: short settings, populations with known energies, and their errors."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import yaml

from clouds import followed, observed
from jko import couplings, densities, methods, metrics, neural
from jko.couplings import CoupledRows
from jko.energies import Energy, static, velocity
from jko.methods import Problem
from jko.snapshots import Snapshots

SCHEMAS = Path(__file__).parents[1] / "workflow" / "schemas"
# Whatever a method calls its amount of work, a few steps of it serve these tests.
SHORT = {
    "epochs": 3,
    "steps": 6,
    "batch": 20,
    "centers": 10,
    "hidden": [16, 16],
    "map_hidden": [16, 16],
    "partners": 4,
    "inner_steps": 4,
}
ALL = {"terms": list(neural.TERMS), "time_varying": True}


def entries_of(kind: str) -> dict[str, dict]:
    """The schema's entry of every setting."""
    text = (SCHEMAS / f"method_{kind}.schema.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text)["properties"]


def settings_of(kind: str, **changes) -> dict:
    """The schema's defaults with less work."""
    entries = entries_of(kind)
    defaults = {key: entry["default"] for key, entry in entries.items() if "default" in entry}
    short = {key: value for key, value in SHORT.items() if key in entries}
    return {"kind": kind} | defaults | short | changes


def problem_of(data: Snapshots) -> Problem:
    """Everything that a method may ask for."""
    coupling = couplings.couple_snapshots(data, {"kind": "exact"}, silent)
    density = densities.fit_mixtures(data, components=2, relative_floor=1e-3, report=silent)
    return Problem(data, coupling, density)


def silent(line: str) -> None:
    """Take a line of progress, and say nothing."""


def fit(problem: Problem, settings: dict) -> methods.Fit:
    return methods.module(settings["kind"]).fit(problem, settings, silent)


def energies_of(fitted: methods.Fit, settings: dict) -> list[Energy]:
    make = methods.module(settings["kind"]).energy
    seeds = range(len(fitted.status))
    return [make(jax.tree.map(lambda leaf, s=s: leaf[s], fitted.params), settings) for s in seeds]


def assert_same(one: Energy, other: Energy) -> None:
    """The same functions with the same parameters, to the bit."""
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for leaf, other_leaf in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        assert np.asarray(leaf).dtype == np.asarray(other_leaf).dtype
        np.testing.assert_array_equal(leaf, other_leaf)


STIFFNESS = np.array([2.0, 0.5])


def bowl(x):
    return 0.5 * jnp.sum(jnp.array([2.0, 0.5], x.dtype) * (x - 1) ** 2)


def bowl_steps(scheme: str, tau: float):
    """The exact step of the bowl by a scheme."""
    if scheme == "explicit":
        return lambda x, k: x - tau * STIFFNESS * (x - 1)
    return lambda x, k: (x + tau * STIFFNESS) / (1 + tau * STIFFNESS)


def l2_uvps(energy: Energy, truth, data: Snapshots, scheme: str) -> list[float]:
    found = []
    for k, tau in enumerate(data.tau):
        clouds, t = data.clouds(0, "test"), data.time[k if scheme == "explicit" else k + 1]
        found.append(
            metrics.l2_uvps(energy, Energy(static(truth)), clouds[k], clouds[k + 1], t, tau)[
                "l2_uvp"
            ]
        )
    return found


LEARNING = {
    "epochs": 300,
    "batch": 100,
    "hidden": [32, 32],
    "learning_rate": 0.005,
    "schedule": "cosine",
}


UNITS = {
    "center": np.array([0.3, -0.2], np.float32),
    "width": np.float32(1.7),
    "scale": np.float32(0.8),
    "time_center": np.float32(0.2),
    "time_width": np.float32(0.3),
}


def nets_of(seed: int) -> dict:
    """Random networks of all terms, with a beta that weighs as much as they do."""
    nets = neural.init(jax.random.key(seed), 2, ALL["terms"], ALL["time_varying"], [8])
    return nets | {"entropy": jnp.float32(0.5)}


@jax.jit
def velocities(energy, mixture, t, train, others):
    score = jax.vmap(densities.score, in_axes=(None, 0))(mixture, train)
    return jax.vmap(velocity, in_axes=(None, 0, None, 0, 0))(energy, train, t, others, score)


def nets_energy() -> Energy:
    return neural.energy({"nets": nets_of(3), "units": UNITS})


@functools.cache
def on_the_condition(
    scheme: str, n: int = 12, make: Callable[[], Energy] = nets_energy, steps: int = 2
) -> Problem:
    """Snapshots whose pairs fulfil the condition of an energy: that of ``nets_of(3)`` in ``UNITS``.

    Each cloud comes from the one at which the scheme takes the gradient, by the velocity
    of the energy: the explicit scheme makes the first one first, the implicit one the last.
    """
    tau, energy = 0.2, make()
    density = densities.fit_mixtures(
        observed((30, 24, 36, 30, 24)[: steps + 1], seeds=(0,)),
        components=2,
        relative_floor=1e-3,
        report=silent,
    )

    def step(cloud, k):
        at = min(k, steps - 1) if scheme == "explicit" else max(steps - k, 1)
        train = cloud[:n].astype(np.float32)
        others = np.stack([np.delete(train, i, axis=0) for i in range(n)])
        moved = velocities(energy, density.mixture(0, at), jnp.float32(tau * at), train, others)
        away = tau * np.asarray(moved) * {"explicit": 1, "implicit": -1}[scheme]
        return np.concatenate([cloud[:n] + away, cloud[n:]])

    data, coupling = followed(step, n=n, tau=tau, steps=steps)
    if scheme == "implicit":
        data = Snapshots(data.x, steps - data.snapshot, data.time, data.seed, data.train, data.test)
        s, k, i, j, weight, cost = coupling
        coupling = CoupledRows(s, steps - 1 - k, j, i, weight, cost)
    return Problem(data, coupling, density)


def relative_error(function, gradient, points: np.ndarray) -> float:
    """Mean squared error of a function's gradient at points (n, d), relative
    to the true one's square.
    """
    found = jax.jit(jax.vmap(jax.grad(function)))(jnp.asarray(points, jnp.float32))
    return np.mean((np.asarray(found) - gradient(points)) ** 2) / np.mean(gradient(points) ** 2)
