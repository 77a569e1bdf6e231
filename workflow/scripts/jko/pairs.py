"""Coupled particles as a regression of the gradient: where it is asked for, and what it should be.

For a pair (x, y) of the coupling of rho_k and rho_{k+1}, with tau the time between them,
the first-order condition of a step under a potential is (jkonet_star eq. 9)

    implicit:  grad V(y, t_{k+1}) = -(y - x) / tau      (the JKO step)
    explicit:  grad V(x, t_k)     = -(y - x) / tau      (the Euler step)

and, where snapshots are far apart, with x_t a curve through coupled particles (:mod:`jko.curves`),

    flow:      grad V(x_t, t)     = -dx_t/dt            (the limit of short steps)

With an interaction or an entropy, grad V is joined by grad W * rho and
beta grad log rho at the same point, under the snapshot that holds this point: :func:`places`
and :func:`train_clouds` say which one it is.

Methods learn in standardised units: coordinates and time of unit spread, and V scaled so that a
unit gradient is a typical velocity. This changes no optimum without regularisation;
it makes one learning rate, one ridge and one set of features serve all populations,
whatever their units and tau.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jax import Array

from jko import curves
from jko.couplings import CoupledRows, of_seed
from jko.snapshots import Snapshots
from jko.solvers import Scheme

# Seeds the chains and times of curves apart from every other use of a dataset's seeds.
_STREAM = 10


class Pairs(NamedTuple):
    """Points and wanted gradients.

    Attributes:
        x: (..., d) point. t: (...) time. target: (..., d) wanted grad V.
            weight: (...) mass, mean 1.
    """

    x: Array
    t: Array
    target: Array
    weight: Array


class Clouds(NamedTuple):
    """The train particles of every snapshot, side by side.

    Attributes:
        x: (..., K, n_max, d) the particles of each snapshot, and zeros behind them.
        size: (..., K) how many particles a snapshot has.
    """

    x: Array
    size: Array


def coupled_pairs(
    snapshots: Snapshots, coupling: CoupledRows, s: int, scheme: Scheme, dtype: type = np.float32
) -> Pairs:
    """The coupled train pairs of the ``s``-th seed; every interval has the same total weight.

    Raises:
        ValueError: the coupling holds a row that is not a train row of the seed.
    """
    _, k, i, j, weight, _ = of_seed(coupling, snapshots, s)
    x, y = snapshots.x[i], snapshots.x[j]
    columns = Pairs(
        x=y if scheme == "implicit" else x,
        t=snapshots.time[k + 1] if scheme == "implicit" else snapshots.time[k],
        target=-(y - x) / snapshots.tau[k][:, None],
        weight=weight / weight.mean(),
    )
    return Pairs(*(np.asarray(column, dtype) for column in columns))


def curve_pairs(
    snapshots: Snapshots,
    coupling: CoupledRows,
    s: int,
    curve: curves.Curve,
    dtype: type = np.float32,
) -> Pairs:
    """Points on curves of the ``s``-th seed, with the gradients that move a flow along them.

    A curve through every train particle gives one point in each of the intervals that begin or end with
    the particle, at a random time: about as many points as the exact coupling has pairs.

    Raises:
        ValueError: the coupling holds a row that is not a train row of the seed, or lacks one that is.
    """
    rng = np.random.default_rng([int(snapshots.seed[s]), _STREAM])
    columns = []
    for k in range(len(snapshots.time)):
        paths = curves.through(curves.chains(snapshots, coupling, s, k, rng), snapshots.time, curve)
        velocities = paths.derivative()
        for m in range(max(k - 1, 0), min(k + 1, len(snapshots.tau))):
            t = rng.uniform(snapshots.time[m], snapshots.time[m + 1], size=paths.c.shape[2])
            columns.append((curves.at(paths, m, t), t, -curves.at(velocities, m, t)))
    x, t, target = (np.concatenate(column) for column in zip(*columns, strict=True))
    # Every interval has the same total weight.
    interval = np.searchsorted(snapshots.time, t, side="right") - 1
    weight = 1 / np.bincount(interval)[interval]
    columns = (x, t, target, weight / weight.mean())
    return Pairs(*(np.asarray(column, dtype) for column in columns))


def units_of(pairs: Pairs, time: np.ndarray) -> dict[str, np.ndarray]:
    """Lengths from the points and velocities from the wanted gradients of one seed.

    Returns:
        center (d,), width (): mean and root mean variance of the points. scale (): unit of V, width
        times the root mean square velocity per coordinate. time_center, time_width ():
        mean and deviation of the snapshot times.
    """
    mass = pairs.weight / pairs.weight.sum()
    center = mass @ pairs.x
    width = np.sqrt(np.mean(mass @ (pairs.x - center) ** 2))
    speed = np.sqrt(np.mean(mass @ pairs.target**2))
    units = {
        "center": center,
        "width": width,
        # A population that does not move has no speed to measure with.
        "scale": width * (speed if speed > 0 else 1.0),
        "time_center": time.mean(),
        "time_width": time.std(),
    }
    return {name: np.asarray(value, np.float32) for name, value in units.items()}


def standardise(units: Mapping[str, Array], x: Array, t: Array) -> tuple[Array, Array]:
    """Point (d,) and time () in standardised units."""
    return (x - units["center"]) / units["width"], (t - units["time_center"]) / units["time_width"]


def in_units(pairs: Pairs, units: Mapping[str, np.ndarray]) -> Pairs:
    """The pairs in standardised units: grad_z (V / scale) = width / scale grad_x V."""
    return pairs._replace(
        x=((pairs.x - units["center"]) / units["width"]).astype(pairs.x.dtype),
        t=((pairs.t - units["time_center"]) / units["time_width"]).astype(pairs.t.dtype),
        target=(pairs.target * (units["width"] / units["scale"])).astype(pairs.target.dtype),
    )


def places(
    snapshots: Snapshots, coupling: CoupledRows, s: int, scheme: Scheme
) -> tuple[np.ndarray, np.ndarray]:
    """The snapshot of the point of every coupled pair, and its place among the
    train particles there.

    Returns:
        k, place: (p,) each, in the order of :func:`coupled_pairs`; the point is
        ``snapshots.cloud(s, "train", k)[place]``.
    """
    here = of_seed(coupling, snapshots, s)
    k, row = (here.k + 1, here.j) if scheme == "implicit" else (here.k, here.i)
    place = np.empty(len(snapshots.x), np.int32)
    for q in range(len(snapshots.time)):
        rows = snapshots.rows(s, "train", q)
        place[rows] = np.arange(len(rows))
    return k.astype(np.int32), place[row]


def train_clouds(snapshots: Snapshots, units: Sequence[Mapping[str, np.ndarray]]) -> Clouds:
    """The train particles of every seed and snapshot, in the units of their seed."""
    clouds = [snapshots.clouds(s, "train") for s in range(len(snapshots.seed))]
    size = np.array([[len(cloud) for cloud in of_seed] for of_seed in clouds], np.int32)  # (S, K)
    x = np.zeros((*size.shape, size.max(), snapshots.dimension), np.float32)
    for s, k in np.ndindex(size.shape):
        cloud = np.asarray(clouds[s][k], np.float32)
        x[s, k, : len(cloud)] = (cloud - units[s]["center"]) / units[s]["width"]
    return Clouds(x, size)
