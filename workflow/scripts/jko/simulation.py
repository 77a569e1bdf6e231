"""Synthetic population snapshots: Euler-Maruyama under a named energy (jkonet_star eq. 13).

    x' = x - tau grad V(x) - tau mean_y grad W(x - y) + sqrt(2 tau beta) n

A step has length tau / substeps. One substep, the default, is the step of the papers; with many the
snapshots are those of the continuous process, and no single step made what lies between two of them.

Paired: one cloud is followed through time, and row i of every snapshot is the same particle.
Unpaired: snapshot k is a fresh initial cloud that took k steps by itself, so that no particle is
seen twice. The test population is a further fresh draw, treated in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial

from jko import kernels, potentials
from jko.energies import Energy, static
from jko.snapshots import Snapshots, Truth
from jko.solvers import euler_step

# The parameters of each initial law, every coordinate independent of the others.
LAWS = {"uniform": ("low", "high"), "normal": ("mean", "std")}
PAIRINGS = ("paired", "unpaired")
_SETTINGS = (
    "potential",
    "interaction",
    "beta",
    "dimension",
    "n_train",
    "n_test",
    "steps",
    "tau",
    "substeps",
    "pairing",
    "initial",
    "seeds",
)


class Populations(NamedTuple):
    """The clouds of one seed: train (K, n_train, d) and test (K, n_test, d), K = steps + 1."""

    train: Array
    test: Array


def simulate(
    key: Array,
    potential: Callable[[Array], Array],
    interaction: Callable[[Array], Array] | None,
    beta: float,
    *,
    dimension: int,
    n_train: int,
    n_test: int,
    steps: int,
    tau: float,
    pairing: str,
    initial: Mapping[str, Any],
    substeps: int = 1,
) -> Populations:
    """Simulate the train and the test population of one seed.

    Args:
        key: the only source of randomness.
        potential: V for x (d,). interaction: W for z (d,), or None.
        beta: diffusivity, >= 0. dimension: d. n_train, n_test: particles of every snapshot.
        steps: intervals; snapshots are taken at times 0, tau, .., steps * tau.
        substeps: Euler-Maruyama steps of each interval, of length tau / substeps.
        pairing: "paired" or "unpaired".
        initial: {law: uniform, low, high} or {law: normal, mean, std}, for every coordinate.

    Returns:
        Populations; its numbers are not finite where a particle ran away.

    Raises:
        ValueError: a setting is not allowed.
    """
    _check(beta, dimension, n_train, n_test, steps, substeps, tau, pairing, initial)
    energy = Energy(static(potential), None, float(beta))
    if interaction is not None:
        energy = energy._replace(interaction=Partial(interaction))
    law = initial["law"]
    numbers = tuple(float(initial[name]) for name in LAWS[law])
    clouds = (
        _population(part, energy, tau, numbers, law, (n, dimension), steps, substeps, pairing)
        for part, n in zip(jax.random.split(key), (n_train, n_test), strict=True)
    )
    return Populations(*clouds)


@partial(jax.jit, static_argnames=("law", "shape", "steps", "substeps", "pairing"))
def _population(
    key: Array,
    energy: Energy,
    tau: float,
    numbers: tuple[float, float],
    law: str,
    shape: tuple[int, int],
    steps: int,
    substeps: int,
    pairing: str,
) -> Array:
    """(K, n, d) snapshots of one population; compiled once for all seeds."""
    length = jnp.asarray(tau, float) / substeps

    def draw(key):
        if law == "uniform":
            low, high = numbers
            return jax.random.uniform(key, shape, minval=low, maxval=high)
        mean, std = numbers
        return mean + std * jax.random.normal(key, shape)

    def advance(cloud, key, first, last):
        def one_step(k, cloud):
            t = length * k.astype(length.dtype)
            return euler_step(energy, jax.random.fold_in(key, k), cloud, t, length)

        return jax.lax.fori_loop(first * substeps, last * substeps, one_step, cloud)

    def followed(key):
        first, noise = jax.random.split(key)

        def to_next(cloud, k):
            moved = advance(cloud, noise, k, k + 1)
            return moved, moved

        start = draw(first)
        later = jax.lax.scan(to_next, start, jnp.arange(steps))[1]
        return jnp.concatenate([start[None], later])

    def fresh(key_and_age):
        key, age = key_and_age
        first, noise = jax.random.split(key)
        return advance(draw(first), noise, 0, age)

    if pairing == "paired":
        return followed(key)
    return jax.lax.map(fresh, (jax.random.split(key, steps + 1), jnp.arange(steps + 1)))


def simulate_snapshots(
    settings: Mapping[str, Any], report: Callable[[str], None] = lambda line: None
) -> Snapshots:
    """Simulate a dataset of S seeds, each with rows of its own and its own random key.

    Rows are ordered by seed, then part (train, test), then snapshot, then particle.

    Args:
        settings: potential, a registered name; interaction, a registered name or None; beta,
            dimension, n_train, n_test, steps, tau, substeps, pairing and initial as in
            :func:`simulate`; seeds, a sequence of S numbers; and, if the train particles were measured badly once, spoiled,
            with the settings of :func:`spoiled`.
        report: receives one line for every seed that is done.

    Raises:
        ValueError: a setting is missing or not allowed, or particles ran away to infinity.
    """
    missing = [name for name in _SETTINGS if name not in settings]
    if missing:
        raise ValueError(f"simulation settings {missing} are missing; found {sorted(settings)}")
    if not len(settings["seeds"]):
        raise ValueError(f"seeds is {settings['seeds']}; at least one seed is needed")
    truth = Truth(
        settings["potential"],
        settings["interaction"],
        float(settings["beta"]),
        int(settings["substeps"]),
    )
    potential = potentials.get(truth.potential)
    interaction = None if truth.interaction is None else kernels.get(truth.interaction)
    keywords = {name: settings[name] for name in _SETTINGS[3:-1]}

    clouds, snapshot, owner, is_test = [], [], [], []
    for s, seed in enumerate(settings["seeds"]):
        key = jax.random.key(seed)
        populations = simulate(key, potential, interaction, truth.beta, **keywords)
        for part, cloud in enumerate(populations):
            x = np.asarray(cloud, np.float64)  # (K, n, d)
            _check_finite(x, truth, seed, settings["tau"] / settings["substeps"])
            if part == 0 and settings.get("spoiled"):
                x = spoiled(x, **settings["spoiled"])
            rows = x.shape[0] * x.shape[1]
            clouds.append(x.reshape(rows, -1))
            snapshot.append(np.repeat(np.arange(x.shape[0]), x.shape[1]))
            owner.append(np.full(rows, s))
            is_test.append(np.full(rows, bool(part)))
        report(_summary(seed, truth, clouds[-2:], settings))
    belongs = np.arange(len(settings["seeds"]))[:, None] == np.concatenate(owner)[None, :]  # (S, n)
    test = np.concatenate(is_test)[None, :]  # (1, n)
    return Snapshots(
        x=np.concatenate(clouds),
        snapshot=np.concatenate(snapshot),
        time=settings["tau"] * np.arange(settings["steps"] + 1, dtype=np.float64),
        seed=np.asarray(settings["seeds"], dtype=np.int64),
        train=belongs & ~test,
        test=belongs & test,
        truth=truth,
    )


def spoiled(x: np.ndarray, snapshot: int, share: float, shift: float) -> np.ndarray:
    """Snapshots x (K, n, d) of which one was measured badly: a share of its particles stands so many of its standard
    deviations too far along the first coordinate. All of them are a batch effect, a few are foreign.

    Raises:
        ValueError: there is no such snapshot, or the share is none of its particles.
    """
    if not 0 <= snapshot < len(x):
        raise ValueError(f"spoiled has the snapshot {snapshot}; there are 0 to {len(x) - 1}")
    x, count = x.copy(), round(share * x.shape[1])
    if not count:
        raise ValueError(
            f"spoiled has the share {share:g}, which is none of {x.shape[1]} particles"
        )
    x[snapshot, :count, 0] += shift * x[snapshot, :, 0].std()
    return x


def _check(
    beta: float,
    dimension: int,
    n_train: int,
    n_test: int,
    steps: int,
    substeps: int,
    tau: float,
    pairing: str,
    initial: Mapping[str, Any],
) -> None:
    """Raise ValueError, naming the setting and its value, unless all are allowed."""
    counts = {"dimension": dimension, "n_train": n_train, "n_test": n_test, "steps": steps}
    counts["substeps"] = substeps
    for name, value in counts.items():
        least = 2 if name.startswith("n_") else 1
        if value < least:
            raise ValueError(f"{name} is {value}; it must be at least {least}")
    if not 0 < tau < np.inf:
        raise ValueError(f"tau is {tau}; it must be positive and finite")
    if not 0 <= beta < np.inf:
        raise ValueError(f"beta is {beta}; a diffusivity must be >= 0 and finite")
    if pairing not in PAIRINGS:
        raise ValueError(f"pairing is {pairing!r}; allowed: {', '.join(PAIRINGS)}")
    law = initial.get("law")
    if law not in LAWS:
        raise ValueError(f"law of the initial cloud is {law!r}; allowed: {', '.join(LAWS)}")
    if set(initial) != {"law", *LAWS[law]}:
        raise ValueError(f"initial holds {sorted(initial)}; {law} takes {['law', *LAWS[law]]}")
    if law == "uniform" and not initial["low"] < initial["high"]:
        raise ValueError(f"initial low {initial['low']} must be below high {initial['high']}")
    if law == "normal" and not initial["std"] > 0:
        raise ValueError(f"initial std is {initial['std']}; it must be positive")


def _check_finite(x: np.ndarray, truth: Truth, seed: int, length: float) -> None:
    """Raise ValueError if a particle of the snapshots x (K, n, d) is not finite."""
    bad = ~np.isfinite(x).all(axis=2)  # (K, n)
    if bad.any():
        k = int(np.flatnonzero(bad.any(axis=1))[0])
        raise ValueError(
            f"potential {truth.potential!r} with interaction {truth.interaction!r}, seed {seed}: "
            f"{bad[k].sum()} of {bad.shape[1]} particles are not finite at snapshot {k}; "
            f"Euler-Maruyama explodes with steps of {length:g}, take a smaller tau or more substeps"
        )


def _summary(seed: int, truth: Truth, parts: list[np.ndarray], settings: Mapping[str, Any]) -> str:
    extent = max(float(np.abs(x).max()) for x in parts)
    return (
        f"seed {seed}: {truth.potential}, interaction {truth.interaction}, beta {truth.beta:g}, "
        f"{settings['pairing']}, {settings['steps'] + 1} snapshots of {settings['n_train']} train "
        f"and {settings['n_test']} test particles in {settings['dimension']} dimensions, "
        f"largest coordinate {extent:.3g}"
    )
