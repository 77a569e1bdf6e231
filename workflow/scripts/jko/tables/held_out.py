"""Errors of snapshots that were held out, one after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from jko.tables import by_seed, order, select, statistics

MEAN = "mean"


def long(
    metrics: pd.DataFrame,
    datasets: Sequence[str],
    methods: Mapping[str, Mapping],
    references: Sequence[str],
) -> pd.DataFrame:
    """Every error of every seed, dataset by dataset.

    Returns:
        Columns dataset, method, scheme, heldout (the time of the snapshot), seed, metric
        (w1, w2; in units of x), value and reason (why there is none).

    Raises:
        ValueError: a dataset has no such rows.
    """
    parts = []
    for dataset in datasets:
        rows = select(metrics, dataset=dataset, mode="held_out")
        if rows.empty:
            raise ValueError(f"the metrics hold no held_out errors of dataset {dataset!r}")
        for metric in dict.fromkeys(rows["metric"]):
            of_metric = select(rows, metric=metric)
            seeds, times = sorted(rows["seed"].unique()), sorted(rows["time"].unique())
            for method, scheme in order(of_metric, methods, references):
                found = select(of_metric, method=method, scheme=scheme)
                values, reasons = by_seed(found, seeds, times)
                for time, seed in [(time, seed) for time in times for seed in seeds]:
                    value = values.loc[seed, time]
                    why = reasons.get(int(seed), "") if pd.isna(value) else ""
                    parts.append((dataset, method, scheme, time, seed, metric, value, why))
    columns = "dataset method scheme heldout seed metric value reason".split()
    return pd.DataFrame(parts, columns=columns)


def summary(table: pd.DataFrame, labels: Mapping[float, str]) -> pd.DataFrame:
    """Statistics over seeds of each snapshot held out, and of the mean over them, taken per seed.

    Args:
        table: of :func:`long`. labels: {time: name of the snapshot}.

    Returns:
        Columns metric, method, scheme, heldout (a label, or "mean"), then the statistics.

    Raises:
        ValueError: two datasets hold out the same time.
    """
    found, times = [], sorted(table["heldout"].unique())
    for key, rows in table.groupby(["metric", "method", "scheme"], sort=False):
        seeds = sorted(rows["seed"].unique())
        values, reasons = by_seed(rows.rename(columns={"heldout": "time"}), seeds, times)
        name = dict(zip(("metric", "method", "scheme"), key, strict=True))
        for time in times:
            why = rows[rows["heldout"] == time].set_index("seed")["reason"].to_dict()
            found.append(name | {"heldout": labels[time]} | statistics(values[time], why))
        mean = values.mean(axis=1, skipna=False)
        found.append(name | {"heldout": MEAN} | statistics(mean, reasons))
    return pd.DataFrame(found)
