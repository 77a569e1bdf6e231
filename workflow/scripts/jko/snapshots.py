"""Population snapshots: unpaired clouds of one population at known times,
with seeded train/test splits.

One file holds every seed of a dataset. A real dataset has one set of rows and one split per seed; a
simulated one draws fresh rows for every seed, so that a row belongs to one seed only.
"""

from __future__ import annotations

import dataclasses
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from jko.files import atomic_path

Part = Literal["train", "test"]
# What a split of observed particles is told, beside the seeds.
SPLIT = ("train_fraction", "validation_fraction", "learned_fraction", "held_out")
# Seeds the choice of train rows to measure on apart from every other use of a dataset's seeds.
_STREAM = 7


@dataclasses.dataclass(frozen=True)
class Truth:
    """The energy that a simulation used, by registered names: V, W (None: no term) and beta >= 0;
    and how many Euler-Maruyama steps lie between two snapshots.
    """

    potential: str
    interaction: str | None
    beta: float
    substeps: int = 1


@dataclasses.dataclass(frozen=True)
class HeldOut:
    """An inner snapshot that no method sees, to be predicted from the others.

    Attributes:
        x: (m, d) float64, its particles.
        time: its time, between the first and the last of the others.
    """

    x: np.ndarray
    time: float


@dataclasses.dataclass(frozen=True)
class Snapshots:
    """Clouds of one population at increasing times.

    Attributes:
        x: (n, d) float64, all particles of all snapshots and seeds.
        snapshot: (n,) int, index of the snapshot in 0..K-1 that a row belongs to.
        time: (K,) float, strictly increasing; the gaps are tau, in units of the dataset's time.
        seed: (S,) int, the seeds of the splits.
        train: (S, n) bool, rows that a method may learn from under a seed.
        test: (S, n) bool, rows that it is measured on; disjoint from ``train``.
        truth: the simulated energy, or None for observed data.
        held_out: a snapshot apart from all the others, or None.
    """

    x: np.ndarray
    snapshot: np.ndarray
    time: np.ndarray
    seed: np.ndarray
    train: np.ndarray
    test: np.ndarray
    truth: Truth | None = None
    held_out: HeldOut | None = None

    def __post_init__(self) -> None:
        validate(self)

    @property
    def tau(self) -> np.ndarray:
        """(K-1,) time from each snapshot to the next."""
        return np.diff(self.time)

    @property
    def dimension(self) -> int:
        """d, the number of coordinates of a particle."""
        return self.x.shape[1]

    def rows(self, s: int, part: Part, k: int) -> np.ndarray:
        """Row numbers of snapshot ``k`` in the given part of the ``s``-th seed."""
        mask = self.train if part == "train" else self.test
        return np.flatnonzero(mask[s] & (self.snapshot == k))

    def cloud(self, s: int, part: Part, k: int) -> np.ndarray:
        """(n_k, d) particles of snapshot ``k`` in the given part of the ``s``-th seed."""
        return self.x[self.rows(s, part, k)]

    def clouds(self, s: int, part: Part) -> list[np.ndarray]:
        """The K clouds of the given part of the ``s``-th seed, in time order."""
        return [self.cloud(s, part, k) for k in range(len(self.time))]


def validate(snapshots: Snapshots) -> None:
    """Raise ValueError, naming the array and the value, unless every promise of Snapshots holds."""
    x, snapshot, time, seed = snapshots.x, snapshots.snapshot, snapshots.time, snapshots.seed
    if x.ndim != 2 or x.shape[1] < 1:
        raise ValueError(f"x has shape {x.shape}; it must be (particles, dimensions)")
    if time.ndim != 1 or len(time) < 2:
        raise ValueError(f"{time.size} snapshot time(s) {time.tolist()}; at least two are needed")
    if not np.all(np.isfinite(time)) or not np.all(np.diff(time) > 0):
        raise ValueError(f"snapshot times {time.tolist()} must be finite and strictly increasing")
    if not np.all(np.isfinite(x)):
        row = int(np.flatnonzero(~np.isfinite(x).all(axis=1))[0])
        raise ValueError(f"row {row} of x holds {x[row].tolist()}; every coordinate must be finite")
    if snapshot.shape != (len(x),) or snapshot.min() < 0 or snapshot.max() >= len(time):
        raise ValueError(f"snapshot must hold {len(x)} indices in 0..{len(time) - 1}")
    if len(seed) == 0 or len(set(seed.tolist())) != len(seed):
        raise ValueError(f"seeds {seed.tolist()} must be distinct, and at least one")
    for name, mask in (("train", snapshots.train), ("test", snapshots.test)):
        if mask.shape != (len(seed), len(x)) or mask.dtype != bool:
            raise ValueError(
                f"{name} must be bool of shape {(len(seed), len(x))}, not {mask.shape}"
            )
    if np.any(snapshots.train & snapshots.test):
        raise ValueError("a row is in train and in test under the same seed")
    for s, k in np.ndindex(len(seed), len(time)):
        for part in ("train", "test"):
            if len(snapshots.rows(s, part, k)) < 2:
                raise ValueError(
                    f"snapshot {k} (time {time[k]:g}) has fewer than 2 {part} particles under seed {seed[s]}"
                )
    if snapshots.held_out is not None:
        _validate_held_out(snapshots.held_out, time, snapshots.dimension)


def _validate_held_out(held_out: HeldOut, time: np.ndarray, dimension: int) -> None:
    if not time[0] < held_out.time < time[-1] or held_out.time in time:
        raise ValueError(
            f"held-out time {held_out.time:g} must lie between the first and the last snapshot, apart from "
            f"all of them: {time.tolist()}"
        )
    if held_out.x.ndim != 2 or held_out.x.shape[1] != dimension or len(held_out.x) < 2:
        raise ValueError(
            f"held-out particles have shape {held_out.x.shape}; it must be (2 or more, {dimension})"
        )
    if not np.all(np.isfinite(held_out.x)):
        raise ValueError("held-out particles are not all finite")


def split(
    x: np.ndarray,
    time: np.ndarray,
    seeds: Sequence[int],
    train_fraction: float,
    validation_fraction: float | None = None,
    learned_fraction: float = 1,
    held_out: float | None = None,
) -> Snapshots:
    """Split observed particles at random within each snapshot, once per seed.

    Args:
        x: (n, d) particles.
        time: (n,) time of each particle; its distinct values are the snapshots.
        seeds: the seeds; each gives its own split, with the same number of train rows per snapshot.
        train_fraction: share of each snapshot that trains, rounded down; the rest is the test part.
        validation_fraction: share of each snapshot's train rows, rounded up,
            that is measured on in place of the test rows, which then belong to neither part:
            settings can be chosen without them.
        learned_fraction: share of each snapshot's train rows, rounded up, that stays in the train part;
            the others belong to neither part, so that the same test rows tell what more data would bring.
        held_out: time of an inner snapshot that is set apart from all the others, or None.

    Raises:
        ValueError: a snapshot leaves fewer than 2 particles to either part,
            there is no inner snapshot at the time held out, or the input is not finite.
    """
    for name, value in (
        ("train_fraction", train_fraction),
        ("validation_fraction", validation_fraction),
    ):
        if value is not None and not 0 < value < 1:
            raise ValueError(f"{name} is {value}; it must lie between 0 and 1")
    if not 0 < learned_fraction <= 1:
        raise ValueError(f"learned_fraction is {learned_fraction}; it must be above 0, at most 1")
    if not np.all(np.isfinite(time)):
        raise ValueError(
            f"times must be finite numbers, found {time[~np.isfinite(time)][:3].tolist()}"
        )
    apart = None
    if held_out is not None:
        inner = np.unique(time)[1:-1]
        if held_out not in inner:
            raise ValueError(
                f"held_out is {held_out:g}; it must be the time of an inner snapshot: {inner.tolist()}"
            )
        away = time == held_out
        apart = HeldOut(np.asarray(x[away], dtype=np.float64), float(held_out))
        x, time = x[~away], time[~away]
    times, snapshot = np.unique(time, return_inverse=True)
    train = np.zeros((len(seeds), len(x)), dtype=bool)
    test = np.zeros_like(train)
    for s, seed in enumerate(seeds):
        rng = np.random.default_rng(seed)
        for k in range(len(times)):
            rows = rng.permutation(np.flatnonzero(snapshot == k))
            learnt, measured = np.split(rows, [int(train_fraction * len(rows))])
            if validation_fraction is not None:
                learnt, measured = np.split(learnt, [int((1 - validation_fraction) * len(learnt))])
            train[s, learnt[: int(np.ceil(learned_fraction * len(learnt)))]] = True
            test[s, measured] = True
    return Snapshots(
        x=np.asarray(x, dtype=np.float64),
        snapshot=snapshot.astype(np.int64),
        time=times.astype(np.float64),
        seed=np.asarray(seeds, dtype=np.int64),
        train=train,
        test=test,
        held_out=apart,
    )


def exchanged(snapshots: Snapshots) -> Snapshots:
    """The snapshots with as many train rows to be measured on as there were test rows.

    Errors on them are of what was learned from; at the same sizes, sampling adds as much to them
    as to the errors on the test rows.

    Raises:
        ValueError: a snapshot has fewer train than test rows.
    """
    test = np.zeros_like(snapshots.test)
    for s, k in np.ndindex(len(snapshots.seed), len(snapshots.time)):
        rows, size = snapshots.rows(s, "train", k), len(snapshots.rows(s, "test", k))
        if len(rows) < size:
            raise ValueError(
                f"snapshot {k} (time {snapshots.time[k]:g}) has {len(rows)} train and {size} test particles under "
                f"seed {snapshots.seed[s]}; errors on train particles need as many of them"
            )
        rng = np.random.default_rng([int(snapshots.seed[s]), k, _STREAM])
        test[s, rng.choice(rows, size, replace=False)] = True
    return dataclasses.replace(snapshots, train=snapshots.test, test=test)


_ARRAYS = ("x", "snapshot", "time", "seed", "train", "test")


def save(snapshots: Snapshots, path: str | Path) -> None:
    """Write the named arrays to an npz file, with the simulated energy and the snapshot held out
    if there are any.
    """
    arrays = {name: getattr(snapshots, name) for name in _ARRAYS}
    if snapshots.truth is not None:
        arrays["potential"] = np.array(snapshots.truth.potential)
        arrays["interaction"] = np.array(snapshots.truth.interaction or "")
        arrays["beta"] = np.array(snapshots.truth.beta)
        arrays["substeps"] = np.array(snapshots.truth.substeps)
    if snapshots.held_out is not None:
        arrays["held_out_x"] = snapshots.held_out.x
        arrays["held_out_time"] = np.array(snapshots.held_out.time)
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, **arrays)


def load(path: str | Path) -> Snapshots:
    """Read snapshots written by :func:`save`.

    Raises:
        ValueError: the file is not an npz file, lacks a named array, or breaks
            a promise of Snapshots.
    """
    try:
        with open(path, "rb") as handle, np.load(handle, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (zipfile.BadZipFile, EOFError, ValueError, TypeError) as error:
        raise ValueError(f"{path}: not a readable npz file ({error})") from error
    missing = [name for name in _ARRAYS if name not in arrays]
    if missing:
        raise ValueError(f"{path}: arrays {missing} are missing; found {sorted(arrays)}")
    truth = None
    if "potential" in arrays:
        truth = Truth(
            potential=str(arrays["potential"]),
            interaction=str(arrays["interaction"]) or None,
            beta=float(arrays["beta"]),
            substeps=int(arrays["substeps"]),
        )
    held_out = None
    if "held_out_x" in arrays:
        held_out = HeldOut(arrays["held_out_x"], float(arrays["held_out_time"]))
    try:
        return Snapshots(*(arrays[name] for name in _ARRAYS), truth=truth, held_out=held_out)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
