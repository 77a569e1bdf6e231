"""Errors on simulated datasets: the mean over times per seed, then statistics over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from jko.tables import STATISTICS, by_seed, order, select, statistics

# Where a metric stands: predictions are one step ahead, energies are compared as they were learned.
MODES = {
    "w1": "one_step",
    "w1_train": "one_step",
    "bw2_uvp": "one_step",
    "l2_uvp": "fit",
    "l2_uvp_edge": "fit",
    "l2_uvp_interaction": "fit",
    "l2_uvp_drift": "fit",
    "beta": "fit",
    "beta_free": "fit",
    "beta_deviation": "fit",
    "beta_coverage": "fit",
    "l2_uvp_expected": "fit",
    "gradient_coverage": "fit",
    "misfit": "fit",
    "evidence": "fit",
    "condition": "fit",
    "known_potential": "fit",
    "known_interaction": "fit",
    "snapshots": "fit",
    "features": "fit",
    "rank": "fit",
}
# What a method says that has a posterior (:mod:`jko.uncertainty`) or equations (its SUMMARY), and no other.
OF_SOME = {
    "beta_free", "beta_deviation", "beta_coverage", "l2_uvp_expected", "gradient_coverage", "misfit", "evidence",
    "condition", "known_potential", "known_interaction", "snapshots", "features", "rank",
}  # fmt: skip


def per_seed(
    metrics: pd.DataFrame,
    dataset: str,
    metric: str,
    methods: Mapping[str, Mapping],
    references: Sequence[str],
) -> dict[tuple[str, str], tuple[pd.Series, dict[int, str]]]:
    """{(method, scheme): (one number per seed, reasons)} of one metric on one dataset.

    The number is the mean over times; it is NaN, with a reason, where any time has none.
    All methods are there, of a metric in :data:`OF_SOME` those that have it; references where they were measured; none at all
    where the metric was not measured.
    """
    mode = MODES[metric]
    rows = select(metrics, dataset=dataset, mode=mode, metric=metric)
    if rows.empty:
        return {}
    # A number over all times counts only where there are none per time.
    per_time = rows["time"].notna()
    rows = rows[per_time] if per_time.any() else rows.assign(time=0.0)
    if mode == "fit":
        # Nothing is predicted: an energy stands under the scheme that it was learned with.
        own = {name: settings.get("scheme") for name, settings in methods.items()}
        rows = rows.assign(scheme=rows["method"].map(own).fillna(rows["scheme"]))
    seeds, times = sorted(rows["seed"].unique()), sorted(rows["time"].unique())
    present = set(rows["method"])
    measured = [name for name in references if name in present]
    if metric in OF_SOME:
        methods = {name: settings for name, settings in methods.items() if name in present}
    found = {}
    for method, scheme in order(rows, methods, measured):
        values, reasons = by_seed(select(rows, method=method, scheme=scheme), seeds, times)
        found[method, scheme] = values.mean(axis=1, skipna=False), reasons
    return found


def of_dataset(
    metrics: pd.DataFrame,
    dataset: str,
    metric: str,
    methods: Mapping[str, Mapping],
    references: Sequence[str],
) -> list[dict]:
    """One metric on one dataset, in the units of the metric.

    Returns:
        A row with method, scheme, metric and :data:`jko.tables.STATISTICS` for every method
        and every reference that was measured; behind each w1, where there is an oracle,
        its excess over that of the same seed. None where the metric was not measured.
    """
    found = per_seed(metrics, dataset, metric, methods, references)
    oracle = next((numbers for (name, _), (numbers, _) in found.items() if name == "oracle"), None)
    table = []
    for (method, scheme), (numbers, reasons) in found.items():
        key = {"method": method, "scheme": scheme}
        table.append(key | {"metric": metric} | statistics(numbers, reasons))
        if metric == "w1" and oracle is not None:
            lacking = oracle.index[oracle.isna()]
            reasons = reasons | {int(seed): "no oracle to compare with" for seed in lacking}
            excess = statistics(numbers - oracle, reasons)
            table.append(key | {"metric": "w1_excess"} | excess)
    return table


def of_datasets(
    metrics: pd.DataFrame,
    keys: Mapping[str, Mapping],
    names: Sequence[str],
    methods: Mapping[str, Mapping],
    references: Sequence[str],
) -> pd.DataFrame:
    """Several metrics on several datasets.

    w1 of one-step predictions and its excess over the oracle are in units of x, bw2_uvp
    of one-step predictions, l2_uvp, l2_uvp_interaction and l2_uvp_drift of the energies in %, beta in the units
    of a diffusivity; what a posterior says (:mod:`jko.uncertainty`) in the same units, coverages as shares; numbers of a
    whole fit as they are. A metric has rows for the (method, scheme) pairs that were measured,
    and for every method under its own scheme.

    Args:
        keys: {dataset: {column: value}}, the columns that name a dataset in the table.
        names: metrics, of those in :data:`MODES`; of those in :data:`OF_SOME` there may be none.

    Returns:
        The columns of the keys, method, scheme, metric, then :data:`jko.tables.STATISTICS`.

    Raises:
        ValueError: a metric was not measured on a dataset.
    """
    table = []
    for dataset, key in keys.items():
        for name in names:
            found = of_dataset(metrics, dataset, name, methods, references)
            if not found and name not in OF_SOME:
                raise ValueError(f"the metrics hold no {MODES[name]} {name} of dataset {dataset!r}")
            table += [dict(key) | row for row in found]
    return pd.DataFrame(table)


def search(
    metrics: pd.DataFrame, datasets: Sequence[str], candidates: Mapping[str, Mapping]
) -> pd.DataFrame:
    """Errors of every candidate of a search by its own scheme, and of what needs no learning.

    Args:
        candidates: {name: {method, candidate (its settings in words), scheme}}.

    Returns:
        Columns dataset, method, candidate, scheme, metric, then :data:`jko.tables.STATISTICS`.
    """
    references = ["oracle", "zero_energy", "even_oracle", "sampling_floor", "mean_shift"]
    table, shown = [], [metric for metric in MODES if metric not in OF_SOME]
    for dataset in datasets:
        for metric in shown:
            for row in of_dataset(metrics, dataset, metric, candidates, references):
                of = candidates.get(row["method"], {"candidate": "", "scheme": row["scheme"]})
                if row["scheme"] == of["scheme"]:
                    name = {"method": of.get("method", row["method"]), "candidate": of["candidate"]}
                    table.append({"dataset": dataset} | row | name)
    frame = pd.DataFrame(table)
    first = ["dataset", "method", "candidate", "scheme", "metric"]
    return frame[[*first, *STATISTICS]]
