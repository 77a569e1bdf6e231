"""A snapshot that no method saw, predicted from its neighbours in time.

It lies at time t between snapshots k and k + 1 of the others, at the share s = (t - t_k) / (t_{k+1} - t_k) of
their interval. Every prediction starts from train particles of snapshot k and is measured on all particles
held out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from jax import Array

from jko import curves
from jko.couplings import CoupledRows
from jko.energies import Energy
from jko.evaluation import Number, lost
from jko.metrics import w1, w2
from jko.prediction import noise_seed, one_step, transported
from jko.snapshots import Snapshots
from jko.solvers import Scheme

METRICS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {"w1": w1, "w2": w2}
# Seeds the draws of the references apart from every other use of a dataset's seeds.
_STREAM = 12


def interval(snapshots: Snapshots) -> int:
    """k of the snapshot before the one held out.

    Raises:
        ValueError: no snapshot is held out.
    """
    if snapshots.held_out is None:
        raise ValueError("no snapshot is held out: the dataset must be one with a time in held_out")
    return int(np.searchsorted(snapshots.time, snapshots.held_out.time)) - 1


def share(snapshots: Snapshots) -> float:
    """s, how far into its interval the time held out lies: between 0 and 1."""
    k = interval(snapshots)
    return float((snapshots.held_out.time - snapshots.time[k]) / snapshots.tau[k])


def predict(
    energy: Energy,
    snapshots: Snapshots,
    s: int,
    scheme: Scheme,
    transport: Callable[[Array, Array], Array] | None = None,
) -> dict[str, np.ndarray]:
    """The snapshot held out, by one step of the energy and by a learned map: {scheme: cloud}.

    The step is as long as the time held out is away, by the scheme that the learning assumed.
    A potential that depends on time is held at the time for which it was learned on the interval,
    its start for the explicit scheme and its end for the implicit one; the flow takes it as time goes. A map moves particles along
    straight lines, to x + s (T(x, k) - x) (:func:`share`): McCann's interpolation.
    """
    k, seed = interval(snapshots), int(snapshots.seed[s])
    cloud, part = snapshots.cloud(s, "train", k), share(snapshots)
    tau = part * snapshots.tau[k]
    # An explicit step takes V at its start, an implicit one at its end.
    start = snapshots.time[k + 1] - tau if scheme == "implicit" else snapshots.time[k]
    found = {scheme: one_step(energy, cloud, start, tau, scheme, noise_seed(seed, k))}
    if transport is not None:
        found["map"] = cloud + part * (transported(transport, cloud, k) - cloud)
    return found


def evaluate_fit(
    snapshots: Snapshots,
    predictions: Sequence[dict[str, np.ndarray] | None],
    status: Sequence[str],
    scheme: Scheme,
    method: str,
) -> Iterator[Number]:
    """W1 and W2 of the predictions of every seed; of a failed seed NaN with the reason."""
    names = dict.fromkeys([scheme, *(name for clouds in predictions if clouds for name in clouds)])
    for s, (clouds, reason) in enumerate(zip(predictions, status, strict=True)):
        for name in names:
            cloud = None if clouds is None else clouds[name]
            yield from _numbers(snapshots, s, method, name, cloud, reason)


def evaluate_references(snapshots: Snapshots, coupling: CoupledRows) -> Iterator[Number]:
    """W1 and W2 of what learns no energy; ``coupling`` is the exact one.

    identity: nothing moves. mean_shift: the snapshot before, moved by s times the difference of the
    means to the snapshot behind. mixture: a share 1 - s of the snapshot before and s of the one
    behind. displacement: (1 - s) x + s y along the exact coupling of the two, with one y for every x.
    transport_spline: splines through such chains of all snapshots (:mod:`jko.curves`). centred_displacement: the displacement moved to the true
    mean of the particles held out, which tells how much of the error is that mean's. split_half:
    one half of the particles held out against the other. No prediction of this size can be much below it;
    clouds of all particles can, as W1 and W2 between samples fall with their size.
    """
    k, part = interval(snapshots), share(snapshots)
    truth = snapshots.held_out.x
    for s, seed in enumerate(snapshots.seed):
        before, after = snapshots.cloud(s, "train", k), snapshots.cloud(s, "train", k + 1)
        rng = np.random.default_rng([int(seed), _STREAM])
        along = curves.chains(snapshots, coupling, s, k, rng)
        between = (1 - part) * along[k] + part * along[k + 1]
        spline = curves.through(along, snapshots.time, "spline")
        for method, cloud in {
            "identity": before,
            "mean_shift": before + part * (after.mean(axis=0) - before.mean(axis=0)),
            "mixture": mixture(before, after, part, rng),
            "displacement": between,
            "transport_spline": spline(snapshots.held_out.time),
            "centred_displacement": between + truth.mean(axis=0) - between.mean(axis=0),
        }.items():
            yield from _numbers(snapshots, s, method, "none", cloud, "ok")
        halves = np.array_split(rng.permutation(truth), 2)
        yield from _numbers(snapshots, s, "split_half", "none", halves[0], "ok", halves[1])


def mixture(x: np.ndarray, y: np.ndarray, part: float, rng: np.random.Generator) -> np.ndarray:
    """Particles of x (n, d) and y (m, d), as many as both allow, a share 1 - s and s of them."""
    total = min(len(x) / (1 - part), len(y) / part)
    sizes = int((1 - part) * total), int(part * total)
    chosen = [
        rng.choice(cloud, size, replace=False) for cloud, size in zip((x, y), sizes, strict=True)
    ]
    return np.concatenate(chosen)


def _numbers(
    snapshots: Snapshots,
    s: int,
    method: str,
    scheme: str,
    cloud: np.ndarray | None,
    reason: str,
    truth: np.ndarray | None = None,
) -> Iterator[Number]:
    """W1 and W2 to the particles held out, or to the part of them in ``truth``."""
    truth = snapshots.held_out.x if truth is None else truth
    why = reason if cloud is None else lost(cloud, scheme, snapshots, s)
    seed, time = int(snapshots.seed[s]), snapshots.held_out.time
    for metric, error in METRICS.items():
        value = float("nan") if why else error(cloud, truth)
        yield Number(method, seed, "held_out", scheme, metric, time, value, why)
