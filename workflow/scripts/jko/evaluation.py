"""The long table of errors of a fit, and of the references that need no learning.

One row for each seed, mode, scheme, metric and time. A number that could not be computed is NaN,
with the reason beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import pandas as pd
from jax import Array
from jax.tree_util import Partial

from jko import kernels, potentials
from jko.energies import Energy, Even, static, zero_energy
from jko.metrics import (
    bw2_uvp,
    implicit_l2_uvp,
    l2_uvps,
    symmetric_kl,
    w1,
)
from jko.prediction import compared, rollout
from jko.snapshots import Snapshots, Truth
from jko.solvers import Scheme
from jko.uncertainty import (
    Uncertainty,
    beta_coverage,
    expected_l2_uvp,
    gradient_coverage,
)

COLUMNS = (
    "dataset",
    "method",
    "seed",
    "mode",
    "scheme",
    "metric",
    "time",
    "value",
    "reason",
    "manifest",
)
CLOUD_METRICS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "w1": w1,
    "bw2_uvp": bw2_uvp,
    "symmetric_kl": symmetric_kl,
}
# Seeds the subsample of the sampling floor apart from every other use of a dataset's seeds.
_STREAM = 3
# How many times the extent of the data a predicted particle may reach, and the usual extent one of the data.
_FAR = 100


class Number(NamedTuple):
    """One measured value, before the names of dataset and method are put to it."""

    method: str
    seed: int
    mode: str
    scheme: str
    metric: str
    time: float
    value: float
    reason: str


def true_energy(truth: Truth) -> Energy:
    """The energy that a simulation used."""
    interaction = None if truth.interaction is None else Partial(kernels.get(truth.interaction))
    return Energy(static(potentials.get(truth.potential)), interaction, truth.beta)


def evaluate_fit(
    snapshots: Snapshots,
    energies: Sequence[Energy | None],
    predictions: Sequence[Mapping[tuple[str, str], list[np.ndarray]] | None],
    status: Sequence[str],
    scheme: Scheme,
    method: str,
    workers: int = 1,
    uncertainties: Sequence[Uncertainty | None] | None = None,
    summaries: Mapping[str, Sequence[float]] | None = None,
) -> Iterator[Number]:
    """Errors of one fit on the test rows of every seed, by ``workers`` threads.

    ``predictions`` are those of :func:`jko.prediction.predict`. One-step-ahead is reported for the
    schemes of :func:`jko.prediction.compared` and for a learned map; the rollout, the errors of the gradients and beta for the scheme that the learning assumed. A method with a posterior has its ``uncertainties``:
    what it expects of its own errors, and where the truth is known whether its intervals hold it. ``summaries``: what else
    is to be said of the whole fit, metric -> number of each seed.
    """
    # A failed seed has a row for every mode and scheme that the others have.
    found = [predicted for predicted in predictions if predicted is not None]
    usual = [*(("one_step", name) for name in compared(scheme)), ("rollout", scheme)]
    keys = dict.fromkeys([*(key for predicted in found for key in predicted), *usual])
    for s, (energy, predicted, reason) in enumerate(
        zip(energies, predictions, status, strict=True)
    ):
        clouds = ((key, predicted and predicted[key]) for key in keys)
        yield from _cloud_numbers(snapshots, s, method, clouds, reason, workers)
        if snapshots.truth is not None:
            yield from _gradient_numbers(snapshots, s, method, scheme, energy, reason)
            yield _beta_number(snapshots, s, method, scheme, energy, reason)
        if uncertainties is not None:
            sure = uncertainties[s]
            yield from _uncertainty_numbers(snapshots, s, method, scheme, energy, sure, reason)
            # Where no seed is good, beta may have been learned, and its rows say why there is none.
            if not any(found is not None and found.beta is None for found in uncertainties):
                yield from _posterior_of_beta(snapshots, s, method, scheme, sure, reason)
        for metric, of_seeds in (summaries or {}).items():
            seed, nan, value, why = int(snapshots.seed[s]), float("nan"), of_seeds[s], reason
            if energy is not None:
                value, why = (value, "") if np.isfinite(value) else (nan, f"{metric} is not finite")
            yield Number(method, seed, "fit", scheme, metric, nan, value, why)


def evaluate_references(snapshots: Snapshots) -> Iterator[Number]:
    """Errors of what needs no learning, on the test rows of every seed.

    sampling_floor: train snapshot k + 1, subsampled to the size of test snapshot k. identity:
    nothing moves. mean_shift: test snapshot k moved by the difference of the train means. For
    simulations also
    oracle: the true dynamics, by the Euler steps that made the data, and beta; zero_energy: the
    errors of V = 0 and W = 0, and beta = 0; and, where V alone drives the data and one Euler
    step made an interval, implicit_oracle: the error of the potential that meets the implicit
    condition of every step exactly, grad V_hat(x - tau grad V(x)) = grad V(x); where W
    drives the data, even_oracle: the even part of W, the only one that an energy of pairs holds.
    """
    intervals = range(len(snapshots.time) - 1)
    for s in range(len(snapshots.seed)):
        train, test = snapshots.clouds(s, "train"), snapshots.clouds(s, "test")
        rng = np.random.default_rng([int(snapshots.seed[s]), _STREAM])
        shift = [train[k + 1].mean(axis=0) - train[k].mean(axis=0) for k in intervals]
        floor = [
            rng.choice(train[k + 1], size=min(len(test[k]), len(train[k + 1])), replace=False)
            for k in intervals
        ]
        moved = [test[k] + shift[k] for k in intervals]
        far = [test[0] + np.sum(shift[: k + 1], axis=0) for k in intervals]
        still = [test[0]] * len(intervals)
        for method, mode, predicted in (
            ("sampling_floor", "one_step", floor),
            ("identity", "one_step", test[:-1]),
            ("mean_shift", "one_step", moved),
            ("identity", "rollout", still),
            ("mean_shift", "rollout", far),
        ):
            yield from _cloud_numbers(snapshots, s, method, [((mode, "none"), predicted)], "ok")
        if snapshots.truth is not None:
            truth = true_energy(snapshots.truth)
            found = _oracle(truth, snapshots, s)
            clouds = [((mode, "explicit"), predicted) for mode, predicted in found.items()]
            yield from _cloud_numbers(snapshots, s, "oracle", clouds, "ok")
            yield from _gradient_numbers(snapshots, s, "zero_energy", "none", zero_energy(), "ok")
            for name, energy in (("oracle", truth), ("zero_energy", zero_energy())):
                yield _beta_number(snapshots, s, name, "none", energy, "ok")
            alone = truth.interaction is None and truth.beta == 0
            if alone and snapshots.truth.substeps == 1:
                yield from _implicit_oracle(snapshots, s)
            if truth.interaction is not None:
                even = truth._replace(interaction=Even(truth.interaction))
                yield from _gradient_numbers(snapshots, s, "even_oracle", "none", even, "ok")


def _cloud_numbers(
    snapshots: Snapshots,
    s: int,
    method: str,
    predicted: Iterable[tuple[tuple[str, str], list[np.ndarray] | None]],
    reason: str,
    workers: int = 1,
) -> Iterator[Number]:
    """Errors of snapshots 1..K-1 predicted in each mode and by each scheme, ((mode, scheme), clouds).

    Where there is no prediction they are NaN with the reason.
    """
    seed, astray = int(snapshots.seed[s]), ran_away(snapshots, s)

    def measure(cloud: np.ndarray | None, scheme: str, k: int, metric: str) -> tuple[float, str]:
        if cloud is None:
            return float("nan"), reason
        why = astray or lost(cloud, scheme, snapshots, s)
        if why:
            return float("nan"), why
        value = CLOUD_METRICS[metric](cloud, snapshots.cloud(s, "test", k + 1))
        return (value, "") if np.isfinite(value) else (float("nan"), f"{metric} is not finite")

    # The transport solver runs outside of Python's lock, so that threads help; the next clouds are made meanwhile.
    with ThreadPoolExecutor(workers) as pool:
        places, measured = [], {}
        for (mode, scheme), clouds in predicted:
            for k in range(len(snapshots.tau)):
                cloud = None if clouds is None else clouds[k]
                for metric in CLOUD_METRICS:
                    # The first step of a rollout is also one ahead: the same cloud is measured once.
                    key = id(cloud), scheme, k, metric
                    if key not in measured:
                        measured[key] = pool.submit(measure, cloud, scheme, k, metric)
                    places.append((mode, scheme, cloud, k, metric))
        for mode, scheme, cloud, k, metric in places:
            value, why = measured[id(cloud), scheme, k, metric].result()
            yield Number(method, seed, mode, scheme, metric, snapshots.time[k + 1], value, why)


def ran_away(snapshots: Snapshots, s: int) -> str:
    """Why the particles of a seed are no data to predict, or "": those of few snapshots are far outside those of the others."""
    parts = [snapshots.clouds(s, split) for split in ("train", "test")]
    extents = [max(np.max(np.abs(cloud)) for cloud in pair) for pair in zip(*parts, strict=True)]
    if max(extents) > _FAR * np.median(extents):
        return f"the data run away, beyond {_FAR} times the median extent of a snapshot"
    return ""


def lost(predicted: np.ndarray, scheme: str, snapshots: Snapshots, s: int) -> str:
    """Why there is no prediction, or "": no implicit step, a number that is not finite, or one far outside all that was observed of the seed."""
    if scheme == "implicit" and np.isnan(predicted).all():
        return "no implicit step was found"
    if not np.isfinite(predicted).all():
        return "the prediction is not finite"
    observed = snapshots.x[snapshots.train[s] | snapshots.test[s]]
    if np.max(np.abs(predicted)) > _FAR * np.max(np.abs(observed)):
        return f"the prediction diverged, beyond {_FAR} times the extent of all snapshots"
    return ""


def _oracle(truth: Energy, snapshots: Snapshots, s: int) -> dict[str, list[np.ndarray]]:
    """Snapshots 1..K-1 predicted by the Euler steps that made the data: mode -> clouds."""
    clouds, seed, m = snapshots.clouds(s, "test"), int(snapshots.seed[s]), snapshots.truth.substeps
    ends = zip(snapshots.time[:-1], snapshots.time[1:], strict=True)
    # The times of all steps; every m-th of them is that of a snapshot.
    fine = [snapshots.time[:1], *(np.linspace(start, stop, m + 1)[1:] for start, stop in ends)]
    fine = np.concatenate(fine)  # ((K - 1) m + 1,)
    ahead = [
        rollout(truth, clouds[k], fine[k * m : (k + 1) * m + 1], "explicit", seed, number=k * m)[-1]
        for k in range(len(snapshots.tau))
    ]
    far = rollout(truth, clouds[0], fine, "explicit", seed)
    return {"one_step": ahead, "rollout": far[m - 1 :: m]}


def _beta_number(
    snapshots: Snapshots, s: int, method: str, scheme: str, energy: Energy | None, reason: str
) -> Number:
    """The weight of the entropy, one number for all times; without an energy, NaN and the reason."""
    value = float("nan") if energy is None else float(energy.beta)
    why = reason if energy is None else "" if np.isfinite(value) else "beta is not finite"
    seed = int(snapshots.seed[s])
    return Number(method, seed, "fit", scheme, "beta", float("nan"), value, why)


def _uncertainty_numbers(
    snapshots: Snapshots,
    s: int,
    method: str,
    scheme: str,
    energy: Energy | None,
    found: Uncertainty | None,
    reason: str,
) -> Iterator[Number]:
    """What a posterior expects of l2_uvp; with a true energy also the coverage of the intervals of grad V."""
    nan, truth = float("nan"), snapshots.truth and true_energy(snapshots.truth)
    for k, tau in enumerate(snapshots.tau):
        here, there = snapshots.cloud(s, "test", k), snapshots.cloud(s, "test", k + 1)
        t = snapshots.time[k]
        values = {"l2_uvp_expected": nan} | ({"gradient_coverage": nan} if truth else {})
        if found is not None:
            values["l2_uvp_expected"] = expected_l2_uvp(found.covariance, here, there, t, tau)
            if truth:
                share = gradient_coverage(energy, truth, found.covariance, there, t)
                values["gradient_coverage"] = share
        for metric, value in values.items():
            why = reason if found is None else ""
            yield _gradient_number(snapshots, s, method, scheme, metric, k, value, why)


def _posterior_of_beta(
    snapshots: Snapshots,
    s: int,
    method: str,
    scheme: str,
    found: Uncertainty | None,
    reason: str,
) -> Iterator[Number]:
    """What a posterior knows of beta, one number each for all times; without one, NaN and the reason."""
    nan, truth = float("nan"), snapshots.truth
    values = {"beta_free": nan, "beta_deviation": nan} | ({"beta_coverage": nan} if truth else {})
    if found is not None:
        values["beta_free"], values["beta_deviation"] = found.beta, found.beta_deviation
        if truth:
            values["beta_coverage"] = beta_coverage(found, truth.beta)
    for metric, value in values.items():
        why = reason if found is None else ""
        yield Number(method, int(snapshots.seed[s]), "fit", scheme, metric, nan, value, why)


def _gradient_numbers(
    snapshots: Snapshots, s: int, method: str, scheme: str, energy: Energy | None, reason: str
) -> Iterator[Number]:
    """L2-UVP of each interval, of V, of a true W and of the drift; without an energy, NaN and the reason."""
    truth = true_energy(snapshots.truth)
    of_w = ["l2_uvp_interaction"] if truth.interaction is not None else []
    metrics = ["l2_uvp", "l2_uvp_edge", *of_w, "l2_uvp_drift"]
    for k, tau in enumerate(snapshots.tau):
        here, there = snapshots.cloud(s, "test", k), snapshots.cloud(s, "test", k + 1)
        t = snapshots.time[k] if scheme == "explicit" else snapshots.time[k + 1]
        values, why = dict.fromkeys(metrics, float("nan")), reason
        if energy is not None:
            values, why = l2_uvps(energy, truth, here, there, t, tau), ""
        for metric in metrics:
            yield _gradient_number(snapshots, s, method, scheme, metric, k, values[metric], why)


def _implicit_oracle(snapshots: Snapshots, s: int) -> Iterator[Number]:
    """L2-UVP of each interval of the potential that meets the implicit condition exactly."""
    truth = true_energy(snapshots.truth)
    for k, tau in enumerate(snapshots.tau):
        value = implicit_l2_uvp(truth, snapshots.cloud(s, "test", k), snapshots.time[k], tau)
        # V is the whole of the drift.
        for metric in ("l2_uvp", "l2_uvp_drift"):
            yield _gradient_number(
                snapshots, s, "implicit_oracle", "implicit", metric, k, value, ""
            )


def _gradient_number(
    snapshots: Snapshots,
    s: int,
    method: str,
    scheme: str,
    metric: str,
    k: int,
    value: float,
    reason: str,
) -> Number:
    if not np.isfinite(value):
        value, reason = float("nan"), reason or f"{metric} is not finite"
    seed, t_next = int(snapshots.seed[s]), snapshots.time[k + 1]
    return Number(method, seed, "fit", scheme, metric, t_next, value, reason)


def trace(
    snapshots: Snapshots,
    kept: Mapping[int, Sequence[Energy | None]],
    status: Sequence[str],
    scheme: Scheme,
) -> pd.DataFrame:
    """Errors of the gradients after each epoch that was kept, each the mean over times.

    Returns:
        Columns seed, epoch, metric, value, reason; no rows where the true energy is not known.
    """
    rows, truth = [], snapshots.truth
    for epoch, energies in sorted(kept.items()) if truth is not None else ():
        for s, (energy, reason) in enumerate(zip(energies, status, strict=True)):
            if energy is not None and truth.interaction is None:
                # The force of a learned W alone would take particles squared at every epoch.
                energy = energy._replace(interaction=None)
            found = _gradient_numbers(snapshots, s, "", scheme, energy, reason)
            left_out = "l2_uvp_drift", "l2_uvp_edge"
            numbers = [number for number in found if number.metric not in left_out]
            for metric in dict.fromkeys(number.metric for number in numbers):
                of_metric = [number for number in numbers if number.metric == metric]
                value = float(np.mean([number.value for number in of_metric]))
                why = next((number.reason for number in of_metric if number.reason), "")
                rows.append((int(snapshots.seed[s]), epoch, metric, value, why))
    return pd.DataFrame(rows, columns=["seed", "epoch", "metric", "value", "reason"])


def table(numbers: Iterable[Number], dataset: str, manifest: str) -> pd.DataFrame:
    """The numbers as rows of the long table, in the order of COLUMNS."""
    rows = pd.DataFrame(list(numbers), columns=Number._fields)
    return rows.assign(dataset=dataset, manifest=manifest)[list(COLUMNS)]
