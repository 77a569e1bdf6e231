"""Predict a population from a learned or true energy, one interval ahead or from the start on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial

from jko.energies import Energy, drifts
from jko.files import atomic_path
from jko.snapshots import Snapshots
from jko.solvers import BLOCK_PARTICLES, Scheme, step

_STREAM = 4


def one_step(
    energy: Energy,
    cloud: np.ndarray,
    t: float,
    tau: float,
    scheme: Scheme,
    seed: int,
    largest: int = 0,
) -> np.ndarray:
    """The population at t + tau predicted from the observed cloud (n, d) at t: (n, d), float64.

    Args:
        largest: size of the largest cloud to come, whose compiled program this one then shares.
    """
    n = len(cloud)
    if energy.interaction is None:
        # Particles do not see each other: filled up to whole blocks, clouds share compiled programs.
        size = -(-max(n, largest) // BLOCK_PARTICLES) * BLOCK_PARTICLES
        cloud = np.pad(cloud, [(0, size - n), (0, 0)], mode="edge")
    start = jnp.asarray(cloud, jnp.float32)
    key = jax.random.key(seed) if energy.beta else None
    moved = step(energy, key, start, jnp.float32(t), jnp.float32(tau), scheme)
    # Cut by numpy: every length would be one more program of JAX.
    return np.asarray(moved, np.float64)[:n]


def rollout(
    energy: Energy,
    cloud: np.ndarray,
    time: np.ndarray,
    scheme: Scheme,
    seed: int,
    largest: int = 0,
    number: int = 0,
) -> list[np.ndarray]:
    """The populations (n, d) at all times but the first, predicted from the cloud at time[0] alone.

    Each interval is one step, seeded by ``seed`` and its number, that of the first one being
    ``number``; ``largest`` as in :func:`one_step`.
    """
    clouds = []
    for k, tau in enumerate(np.diff(time)):
        cloud = one_step(energy, cloud, time[k], tau, scheme, noise_seed(seed, number + k), largest)
        clouds.append(cloud)
    return clouds


def compared(scheme: Scheme) -> tuple[Scheme, ...]:
    """Schemes by which an energy that was learned for ``scheme`` predicts one interval ahead.

    Either single step takes the gradient that the other one learned at another place; the flow takes
    it all along the way.
    """
    return ("flow",) if scheme == "flow" else ("explicit", "implicit")


class Predictions(Mapping):
    """What one energy says of the test snapshots 1..K-1 of one seed: (mode, scheme) -> K-1 clouds.

    ("one_step", scheme): each from the observed snapshot before it; a learned transport map counts as the scheme "map".
    ("rollout", scheme): from test snapshot 0 on, by the scheme that the learning assumed. Clouds are
    made when they are first asked for: some can be measured while the program of others compiles.
    """

    def __init__(self, makers: Mapping[tuple[str, str], Callable[[], list[np.ndarray]]]):
        self._makers, self._made = makers, {}

    def __getitem__(self, key: tuple[str, str]) -> list[np.ndarray]:
        if key not in self._made:
            self._made[key] = self._makers[key]()
        return self._made[key]

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)


def predict(
    energy: Energy,
    snapshots: Snapshots,
    s: int,
    scheme: Scheme,
    transport: Callable[[Array, Array], Array] | None = None,
) -> Predictions:
    """Predict the test snapshots of the ``s``-th seed, one step ahead by the schemes :func:`compared`
    and by T(x, k) if given.

    A potential that depends on time is taken at the time for which ``scheme`` learned it on
    the interval, whichever single step predicts.
    """
    clouds, seed = snapshots.clouds(s, "test"), int(snapshots.seed[s])
    largest = max(map(len, clouds[:-1]))

    def ahead(name: Scheme, k: int) -> np.ndarray:
        # An explicit step takes V at its start, an implicit one at its end.
        ends = {"explicit": 0, "implicit": 1, "flow": 0}
        shift = ends[scheme] - ends[name]
        tau, noise = snapshots.tau[k], noise_seed(seed, k)
        t = snapshots.time[k] + shift * tau
        return one_step(energy, clouds[k], t, tau, name, noise, largest)

    def each_ahead(name: Scheme) -> list[np.ndarray]:
        return [ahead(name, k) for k in range(len(snapshots.tau))]

    def mapped() -> list[np.ndarray]:
        return [transported(transport, cloud, k) for k, cloud in enumerate(clouds[:-1])]

    def far() -> list[np.ndarray]:
        # The first step from the start is the first one ahead.
        first = found["one_step", scheme][0]
        later = rollout(energy, first, snapshots.time[1:], scheme, seed, largest, number=1)
        return [first, *later]

    makers = {("one_step", name): partial(each_ahead, name) for name in compared(scheme)}
    if transport is not None:
        makers["one_step", "map"] = mapped
    found = Predictions(makers | {("rollout", scheme): far})
    return found


@jax.jit
def _mapped(transport, cloud, k):
    return jax.vmap(transport, in_axes=(0, None))(cloud, k)


def transported(
    transport: Callable[[Array, Array], Array], cloud: np.ndarray, k: int
) -> np.ndarray:
    """T(x, k) of a cloud (n, d) of snapshot k: (n, d), float64."""
    return np.asarray(_mapped(transport, jnp.asarray(cloud, jnp.float32), jnp.int32(k)), np.float64)


def noise_seed(seed: int, k: int) -> int:
    """A number for the noise of interval ``k``, apart from every other use of a dataset's seeds."""
    return int(np.random.SeedSequence([seed, k, _STREAM]).generate_state(1)[0])


def potential_on_grid(
    energy: Energy, time: np.ndarray, grid_x: np.ndarray, grid_y: np.ndarray, rest: np.ndarray
) -> np.ndarray:
    """V at each time on a grid of the first two coordinates, the others held at ``rest``.

    Args:
        time: (K,). grid_x, grid_y: (g,). rest: (d,), of which the coordinates
            from the third on count.

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


def save(
    snapshots: Snapshots,
    energies: Sequence[Energy | None],
    status: Sequence[str],
    first: Predictions | None,
    scheme: Scheme,
    path: str | Path,
    grid: int = 61,
) -> None:
    """Write what figures show of a fit to an npz file.

    Arrays: seed (S,), time (K,), status (S,); grid_x, grid_y (g,) over all but the outermost
    particles of the first seed, and potential (S, K, g, g) as in :func:`potential_on_grid`,
    NaN for a failed seed. With the predictions of the ``first`` seed also predicted_k (n, d)
    for k = 1..K-1, one step ahead by ``scheme``, and rollout_k (n, d) for k = 0..K-1.
    """
    # Not the extremes: one particle that ran away would leave the others a single cell of the grid.
    shown = snapshots.x[snapshots.train[0] | snapshots.test[0]]
    low, high = np.quantile(shown, [0.001, 0.999], axis=0)
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
    if first is not None:
        arrays["rollout_0"] = snapshots.cloud(0, "test", 0)
        for k in range(len(snapshots.tau)):
            arrays[f"predicted_{k + 1}"] = first["one_step", scheme][k]
            arrays[f"rollout_{k + 1}"] = first["rollout", scheme][k]
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, **arrays)


class Forecast(NamedTuple):
    """Predicted particles of several times, stacked: x (m, d) and time (m,)."""

    x: np.ndarray
    time: np.ndarray


def forecast(energy: Energy, snapshots: Snapshots, scheme: Scheme) -> Forecast:
    """All snapshots but the first from the whole first one, and one more step beyond the last.

    The step beyond starts from the whole last observed snapshot, is as long as the last interval,
    and holds a potential that depends on time at its last learned time.
    """
    time, tau = snapshots.time, snapshots.tau
    clouds = rollout(energy, snapshots.x[snapshots.snapshot == 0], time, scheme, seed=0)
    last = snapshots.x[snapshots.snapshot == len(time) - 1]
    beyond = noise_seed(0, len(tau))
    last_learned = jnp.float32(learned_times(time, scheme)[-1])
    energy = energy._replace(potential=Partial(_held, energy.potential, last_learned))
    clouds.append(one_step(energy, last, time[-1], tau[-1], scheme, beyond))
    times = [*time[1:], time[-1] + tau[-1]]
    stamps = [np.full(len(cloud), t) for cloud, t in zip(clouds, times, strict=True)]
    return Forecast(np.concatenate(clouds), np.concatenate(stamps))


def learned_times(time: np.ndarray, scheme: Scheme) -> np.ndarray:
    """Snapshot times, of those in ``time`` (K,), for which ``scheme`` learns a potential that depends on time:
    the starts of the intervals, their ends, or all.
    """
    return {"explicit": time[:-1], "implicit": time[1:], "flow": time}[scheme]


def _held(potential, time, x, t):
    return potential(x, time)


def at_particles(
    energy: Energy, snapshots: Snapshots, scheme: Scheme
) -> tuple[np.ndarray, np.ndarray]:
    """V (n,) and drift (n, d) at every particle and its time; W acts within each whole snapshot.

    A snapshot at whose time a potential was not learned takes the nearest of :func:`learned_times`.
    """
    potential = np.empty(len(snapshots.x))
    flow = np.empty_like(snapshots.x)
    learned = learned_times(snapshots.time, scheme)
    for k, t in enumerate(np.clip(snapshots.time, learned[0], learned[-1])):
        rows = np.flatnonzero(snapshots.snapshot == k)
        cloud = jnp.asarray(snapshots.x[rows], jnp.float32)
        potential[rows] = potential_at(energy, snapshots.x[rows], t)
        flow[rows] = _drifts(energy, cloud, jnp.float32(t))
    return potential, flow


_drifts = jax.jit(drifts)
