"""Predict a population from a learned or true energy, one interval ahead or from the start on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from jko.energies import Energy
from jko.files import atomic_path
from jko.snapshots import Snapshots
from jko.solvers import Scheme, step


def one_step(
    energy: Energy, cloud: np.ndarray, t: float, tau: float, scheme: Scheme, seed: int
) -> np.ndarray:
    """The population at t + tau predicted from the observed cloud (n, d) at t: (n, d), float64."""
    key = jax.random.key(seed)
    start = jnp.asarray(cloud, jnp.float32)
    moved = step(energy, key, start, jnp.float32(t), jnp.float32(tau), scheme)
    return np.asarray(moved, np.float64)


def rollout(
    energy: Energy, cloud: np.ndarray, time: np.ndarray, scheme: Scheme, seed: int
) -> list[np.ndarray]:
    """The populations (n, d) at all times, predicted from the cloud at time[0] alone.

    Each interval is one step, seeded by ``seed`` and its number; the first entry is the cloud itself.
    """
    clouds = [cloud]
    for k, tau in enumerate(np.diff(time)):
        step_seed = int(np.random.SeedSequence([seed, k]).generate_state(1)[0])
        clouds.append(one_step(energy, clouds[-1], time[k], tau, scheme, step_seed))
    return clouds


def potential_on_grid(
    energy: Energy, time: np.ndarray, grid_x: np.ndarray, grid_y: np.ndarray, rest: np.ndarray
) -> np.ndarray:
    """V at each time on a grid of the first two coordinates, the others held at ``rest``.

    Args:
        time: (K,). grid_x, grid_y: (g,). rest: (d,), of which the coordinates from the third on count.

    Returns:
        (K, g, g), indexed [k, iy, ix].
    """
    x, y = np.meshgrid(grid_x, grid_y)  # (g, g)
    points = np.broadcast_to(rest, (x.size, len(rest))).copy()  # (g * g, d)
    points[:, 0] = x.ravel()
    if points.shape[1] > 1:
        points[:, 1] = y.ravel()
    values = [potential_at(energy, points, t).reshape(x.shape) for t in time]
    return np.stack(values)


@jax.jit
def _values(energy, points, t):
    return jax.vmap(lambda x: energy.potential(x, t))(points)


def potential_at(energy: Energy, points: np.ndarray, t: float) -> np.ndarray:
    """V(x, t) at points (n, d): (n,)."""
    return np.asarray(_values(energy, jnp.asarray(points, jnp.float32), jnp.float32(t)), np.float64)


def save_predictions(
    snapshots: Snapshots,
    energies: Sequence[Energy | None],
    status: Sequence[str],
    scheme: Scheme,
    path: str | Path,
    grid: int = 61,
) -> None:
    """Write what figures show of a fit to an npz file.

    Arrays: seed (S,), time (K,), status (S,); grid_x, grid_y (g,) over the particles of all snapshots and
    potential (S, K, g, g) as in :func:`potential_on_grid`, NaN for a failed seed. For the first seed, if
    it did not fail: predicted_k (n, d) for k = 1..K-1, one step ahead from test snapshot k - 1, and
    rollout_k (n, d) for k = 0..K-1 from test snapshot 0.
    """
    low, high = snapshots.x.min(axis=0), snapshots.x.max(axis=0)
    grid_x = np.linspace(low[0], high[0], grid)
    grid_y = np.linspace(low[1], high[1], grid) if snapshots.dimension > 1 else np.zeros(grid)
    shape = (len(energies), len(snapshots.time), grid, grid)
    arrays = {
        "seed": snapshots.seed,
        "time": snapshots.time,
        "status": np.array(status),
        "grid_x": grid_x,
        "grid_y": grid_y,
        "potential": np.full(shape, np.nan),
    }
    for s, energy in enumerate(energies):
        if energy is not None:
            rest = np.concatenate(snapshots.clouds(s, "train")).mean(axis=0)
            arrays["potential"][s] = potential_on_grid(energy, snapshots.time, grid_x, grid_y, rest)
    if energies[0] is not None:
        clouds = snapshots.clouds(0, "test")
        for k, tau in enumerate(snapshots.tau):
            predicted = one_step(energies[0], clouds[k], snapshots.time[k], tau, scheme, seed=k)
            arrays[f"predicted_{k + 1}"] = predicted
        for k, cloud in enumerate(rollout(energies[0], clouds[0], snapshots.time, scheme, seed=0)):
            arrays[f"rollout_{k}"] = cloud
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, **arrays)
