"""Train particles of every snapshot side by side, for methods that take a batch of each in a step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jax import Array

from jko.metrics import bures_w2_squared
from jko.snapshots import Snapshots

# Widths in a step that are rounding: a Bures distance of 1e-7, from covariances in double precision, is none.
_REST = 1e-6


class Clouds(NamedTuple):
    """Weighted particles in the units of a training: of every snapshot side by side, or of one.

    Attributes:
        z: (P, K, d), row p of snapshot k, where shorter snapshots repeat their particles or end; (m, d) of one.
        weight: (P, K), one over the number of rows that hold the same particle, 0 where there is none; (m,) of one.
    """

    z: Array
    weight: Array


def rows_of(snapshots: Snapshots, batch: int) -> int:
    """Rows P that hold the largest train snapshot of every seed, a whole number of batches."""
    most = max(
        int(snapshots.train[:, snapshots.snapshot == k].sum(axis=1).max())
        for k in range(len(snapshots.time))
    )
    return -(-most // batch) * batch


def units_of(
    clouds: Sequence[np.ndarray], time: np.ndarray, tau: np.ndarray
) -> dict[str, np.ndarray]:
    """Units of the clouds (n_k, d) of one seed, by the names of :func:`jko.pairs.units_of`.

    The speed is that of the Bures distances between neighbouring snapshots: it needs no coupling,
    and its sampling noise is of order (d / n)^(1/2) width per step.

    Raises:
        ValueError: the particles have no extent.
    """
    points = np.concatenate(clouds)
    center, width = points.mean(axis=0), np.sqrt(points.var(axis=0).mean())
    if width == 0:
        raise ValueError("all train particles stand on one point; a potential needs an extent")
    bures = [bures_w2_squared(x, y) for x, y in zip(clouds[:-1], clouds[1:], strict=True)]
    speed = np.sqrt(np.mean(bures / tau**2) / points.shape[1])
    # A population that rests, but for the rounding of its covariances, has no speed to measure with.
    if speed * tau.mean() < _REST * width:
        speed = width / tau.mean()
    return {
        "center": center,
        "width": width,
        "scale": width * speed,
        "time_center": time.mean(),
        "time_width": time.std(),
    }


def side_by_side(clouds: Sequence[np.ndarray], rows: int, rng: np.random.Generator) -> Clouds:
    """The clouds (n_k, d) in so many rows, each in a random order of its own: paired data do not tell
    which rows belong together.
    """
    places = [np.resize(rng.permutation(len(cloud)), rows) for cloud in clouds]
    copies = [
        np.bincount(place, minlength=len(cloud))[place]
        for place, cloud in zip(places, clouds, strict=True)
    ]
    z = np.stack([cloud[place] for cloud, place in zip(clouds, places, strict=True)], axis=1)
    return Clouds(z, 1 / np.stack(copies, axis=1))


def single(leaf) -> np.ndarray:
    """The leaf as an array, in single precision where it is in double."""
    leaf = np.asarray(leaf)
    return leaf.astype(np.float32) if leaf.dtype == np.float64 else leaf
