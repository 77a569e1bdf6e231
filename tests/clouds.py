"""Small populations with known answers, for the tests of several modules."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from jko.couplings import CoupledRows
from jko.snapshots import Snapshots, Truth, split


def observed(
    sizes: Sequence[int] = (30, 24, 36),
    d: int = 2,
    seeds: Sequence[int] = (0, 1),
    spread: float = 1.0,
) -> Snapshots:
    """Normal clouds of the given sizes, each shifted by one more than the last; unequal gaps."""
    rng = np.random.default_rng(len(sizes))
    times = np.cumsum([0.0, *(0.5 + 0.25 * k for k in range(len(sizes) - 1))])
    x = np.concatenate([spread * rng.normal(size=(n, d)) + k for k, n in enumerate(sizes)])
    return split(x, np.repeat(times, sizes), seeds, 0.6)


def followed(
    step: Callable[[np.ndarray, int], np.ndarray],
    *,
    n: int = 200,
    steps: int = 2,
    d: int = 2,
    tau: float = 0.1,
    seeds: Sequence[int] = (0,),
    truth: Truth | None = None,
) -> tuple[Snapshots, CoupledRows]:
    """Normal clouds that ``step(cloud, k)`` moves, with the coupling that follows each particle.

    Every seed has n train and n test particles of its own.
    """
    clouds, snapshot, owner, part = [], [], [], []
    for s, seed in enumerate(seeds):
        cloud = np.random.default_rng(seed).normal(size=(2 * n, d))
        for k in range(steps + 1):
            clouds.append(cloud)
            snapshot += [k] * (2 * n)
            owner += [s] * (2 * n)
            part += [True] * n + [False] * n
            cloud = step(cloud, k)
    owner, part = np.array(owner), np.array(part)
    mine = owner[None, :] == np.arange(len(seeds))[:, None]  # (S, rows)
    snapshots = Snapshots(
        x=np.concatenate(clouds),
        snapshot=np.array(snapshot),
        time=tau * np.arange(steps + 1),
        seed=np.array(seeds),
        train=mine & part,
        test=mine & ~part,
        truth=truth,
    )
    pairs = [
        (
            np.full(n, s),
            np.full(n, k),
            snapshots.rows(s, "train", k),
            snapshots.rows(s, "train", k + 1),
        )
        for s in range(len(seeds))
        for k in range(steps)
    ]
    s, k, i, j = (np.concatenate(column) for column in zip(*pairs, strict=True))
    cost = np.zeros((len(seeds), steps))
    np.add.at(cost, (s, k), np.sum((snapshots.x[i] - snapshots.x[j]) ** 2, axis=1) / n)
    return snapshots, CoupledRows(s, k, i, j, np.full(len(s), 1 / n), cost)


def poisoned(snapshots: Snapshots) -> Snapshots:
    """The same train rows, and far away every row that tests under some seed and never trains."""
    x = snapshots.x.copy()
    only_test = snapshots.test.any(axis=0) & ~snapshots.train.any(axis=0)
    x[only_test] = np.random.default_rng(99).uniform(-1e4, 1e4, (only_test.sum(), x.shape[1]))
    return Snapshots(
        x,
        snapshots.snapshot,
        snapshots.time,
        snapshots.seed,
        snapshots.train,
        snapshots.test,
        snapshots.truth,
    )
