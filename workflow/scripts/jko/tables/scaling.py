"""Errors and time over a grid of dimensions and numbers of particles (jkonet_star section 4.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from jko.tables import NO_ROW, statistics
from jko.tables.errors import MODES, per_seed

CELL = ["potential", "dimension", "particles"]
COLUMNS = ["dataset", *CELL, "method", "seed", "metric", "value", "reason"]
ALL_SEEDS = "all"
_MEASURED = ("w1", "l2_uvp")


def of_grid(
    metrics: pd.DataFrame,
    keys: Mapping[str, Mapping],
    methods: Mapping[str, Mapping],
    references: Sequence[str],
    costs: Mapping[tuple[str, str], Mapping[str, float]],
) -> pd.DataFrame:
    """One number per row: the error of a seed, the mean over the times, or the seconds of a job.

    w1 is the one-step EMD of the scheme that a method was learned with, w1_per_sqrt_d the same over
    the square root of the dimension, in the simulation's units of length; l2_uvp is the error of grad V in %.
    A distance of clouds whose every coordinate is alike grows with that root: w1_per_sqrt_d can be
    compared over dimensions.

    Args:
        keys: {dataset: {potential, dimension, particles}}. references: methods that need no learning.
        costs: {(dataset, method): {metric: number}} of jobs, which run all seeds of a dataset.

    Returns:
        The columns :data:`COLUMNS`; seed is "all" for what a job took, reason "" beside a number.

    Raises:
        ValueError: an error was not measured on a dataset.
    """
    rows = []
    of_dataset = dict(tuple(metrics.groupby("dataset", sort=False)))
    for dataset, key in keys.items():
        own = of_dataset.get(dataset, metrics.iloc[:0])
        for metric in _MEASURED:
            found = per_seed(own, dataset, metric, methods, references)
            if not found:
                raise ValueError(f"the metrics hold no {MODES[metric]} {metric} of {dataset!r}")
            for (method, scheme), (values, reasons) in found.items():
                if scheme != methods.get(method, {}).get("scheme", scheme):
                    continue
                shown = {metric: values}
                if metric == "w1":
                    shown["w1_per_sqrt_d"] = values / np.sqrt(key["dimension"])
                for name, numbers in shown.items():
                    for seed, value in numbers.items():
                        reason = "" if np.isfinite(value) else reasons.get(int(seed), NO_ROW)
                        of = {"method": method, "seed": seed, "metric": name}
                        rows.append(
                            {"dataset": dataset, **key, **of, "value": value, "reason": reason}
                        )
        for method in methods:
            for name, value in costs[dataset, method].items():
                reason = "" if np.isfinite(value) else "not measured: the job was too short"
                of = {"method": method, "seed": ALL_SEEDS, "metric": name}
                rows.append({"dataset": dataset, **key, **of, "value": value, "reason": reason})
    return pd.DataFrame(rows, columns=COLUMNS)


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Statistics over the seeds: the columns of a cell, method, metric, then those of all tables.

    Args:
        table: as :func:`of_grid` returns it.
    """
    found, keys = [], [*CELL, "method", "metric"]
    for key, of_cell in table.groupby(keys, sort=False):
        # What a job took has no seed of its own and stands as seed 0.
        index = pd.to_numeric(of_cell["seed"], errors="coerce").fillna(0).astype(int)
        values = pd.Series(of_cell["value"].to_numpy(), index=index)
        reasons = dict(zip(index, of_cell["reason"], strict=True))
        found.append(dict(zip(keys, key, strict=True)) | statistics(values, reasons))
    return pd.DataFrame(found)
