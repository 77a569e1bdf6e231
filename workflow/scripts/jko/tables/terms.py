"""Errors of each term of an energy over a grid of simulations (jkonet_star section 4.3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from jko.tables.errors import per_seed

COLUMNS = "potential interaction beta method seed metric value status".split()
# Metric of the table -> that of the evaluation.
METRICS = {
    "l2_uvp_potential": "l2_uvp",
    "l2_uvp_interaction": "l2_uvp_interaction",
    "l2_uvp_drift": "l2_uvp_drift",
    "beta_hat": "beta",
    "w1": "w1",
}
# What single fits are summarised by; w1_ratio is w1 over w1_oracle of the same seed.
SUMMARISED = ("l2_uvp_potential", "l2_uvp_interaction", "l2_uvp_drift", "beta_hat", "w1_ratio")
_FIT = COLUMNS[:5]


def of_grid(
    metrics: pd.DataFrame,
    keys: Mapping[str, Mapping],
    methods: Mapping[str, Mapping],
    references: Sequence[str],
    excluded: Mapping[str, Mapping],
) -> pd.DataFrame:
    """One number per row, the mean over the times of a seed, or the cause why there is none.

    l2_uvp_potential, l2_uvp_interaction and l2_uvp_drift are the errors of grad V, grad W * rho and their sum in %,
    beta_hat the learned diffusivity, w1 the one-step EMD of the scheme that a method was learned
    with, and w1_oracle that of the true energy for the same seed. A reference has the rows that
    were measured.

    Args:
        keys: {dataset: {potential, interaction, beta}}. references: methods that need no learning.
        excluded: {id: settings with seeds, and the reason} of combinations without a dataset;
            every method has all rows of them, with the reason as status.

    Returns:
        The columns :data:`COLUMNS`; status is "ok" beside a number.

    Raises:
        ValueError: a metric was not measured on a dataset.
    """
    rows = []
    of_dataset = dict(tuple(metrics.groupby("dataset", sort=False)))
    for dataset, key in keys.items():
        own = of_dataset.get(dataset, metrics.iloc[:0])
        for shown, metric in METRICS.items():
            found = per_seed(own, dataset, metric, methods, [*references, "oracle"])
            if not found:
                raise ValueError(f"the metrics hold no {metric} of dataset {dataset!r}")
            oracle = next(
                (numbers for (name, _), numbers in found.items() if name == "oracle"), None
            )
            for (method, scheme), numbers in found.items():
                if method == "oracle" or scheme != methods.get(method, {}).get("scheme", scheme):
                    continue
                rows += _rows(key, method, shown, *numbers)
                if metric == "w1" and oracle is not None:
                    rows += _rows(key, method, "w1_oracle", *oracle)
    for entry in excluded.values():
        key = {name: entry[name] for name in COLUMNS[:3]}
        lost = pd.Series(np.nan, index=entry["seeds"])
        reasons = dict.fromkeys(entry["seeds"], entry["reason"])
        for method in methods:
            for shown in (*METRICS, "w1_oracle"):
                rows += _rows(key, method, shown, lost, reasons)
    return pd.DataFrame(rows, columns=COLUMNS)


def _rows(
    key: Mapping, method: str, metric: str, values: pd.Series, reasons: Mapping[int, str]
) -> list[dict]:
    return [
        {
            **key,
            "method": method,
            "seed": int(seed),
            "metric": metric,
            "value": value,
            "status": "ok" if np.isfinite(value) else reasons[int(seed)],
        }
        for seed, value in values.items()
    ]


def by_beta(table: pd.DataFrame) -> pd.DataFrame:
    """Statistics of every method at every beta: of cells, and of single fits.

    A cell is a potential with an interaction, and its number the mean over its good seeds.

    Args:
        table: as :func:`of_grid` returns it.

    Returns:
        Columns method, beta, metric (of :data:`SUMMARISED`); median, low and high, the quartiles
        over the cells; mean and std (ddof = 1) over the fits; cells and n, the numbers of good
        cells and fits, and n_failed. Without a good fit the statistics are NaN.
    """
    wide = table.pivot(index=_FIT, columns="metric", values="value")
    wide = wide.reindex(columns=[*METRICS, "w1_oracle"])
    wide["w1_ratio"] = wide["w1"] / wide["w1_oracle"]
    measured = table.groupby("method")["metric"].agg(set)
    rows = []
    for method in dict.fromkeys(table["method"]):
        of_method = wide.xs(method, level="method")
        for beta, fits in of_method.groupby(level="beta"):
            for metric in SUMMARISED:
                if {"w1_ratio": "w1"}.get(metric, metric) in measured[method]:
                    key = {"method": method, "beta": beta, "metric": metric}
                    rows.append(key | _statistics(fits[metric]))
    return pd.DataFrame(rows)


def _statistics(fits: pd.Series) -> dict:
    good = fits[np.isfinite(fits)]
    cells = good.groupby(level=["potential", "interaction"]).mean()
    low, median, high = cells.quantile([0.25, 0.5, 0.75])
    return {
        "median": median,
        "low": low,
        "high": high,
        "mean": good.mean(),
        "std": good.std(ddof=1),
        "cells": len(cells),
        "n": len(good),
        "n_failed": len(fits) - len(good),
    }


def causes(table: pd.DataFrame) -> pd.DataFrame:
    """What has no number: columns status, method, fits, and the potential with the interaction of each."""
    failed = table[table["status"] != "ok"].drop_duplicates([*_FIT, "status"])
    pairs = failed["potential"] + " with " + failed["interaction"]
    groups = failed.assign(pair=pairs).groupby(["status", "method"], sort=False)
    rows = [
        (status, method, len(fits), ", ".join(dict.fromkeys(fits["pair"])))
        for (status, method), fits in groups
    ]
    return pd.DataFrame(rows, columns=["status", "method", "fits", "pairs"])
