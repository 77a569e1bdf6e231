"""Errors of the cells, interval by interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from jko.tables import by_seed, order, select, statistics

MEAN = "mean over intervals"


def intervals(
    metrics: pd.DataFrame,
    dataset: str,
    methods: Mapping[str, Mapping],
    references: Sequence[str],
    labels: Sequence[str],
) -> pd.DataFrame:
    """One-step w1 of each method over each interval between snapshots, and its mean over intervals.

    The mean over intervals is taken per seed; a seed with a failed interval has none.

    Args:
        labels: (K,) names of the snapshots, in time order.

    Returns:
        Columns method, scheme, interval, then :data:`STATISTICS`; w1 in units of x.

    Raises:
        ValueError: no such rows, or not one label per snapshot.
    """
    rows = select(metrics, dataset=dataset, mode="one_step", metric="w1")
    rows = rows[rows["time"].notna()]
    if rows.empty:
        raise ValueError(f"the metrics hold no one_step w1 of dataset {dataset!r} per time")
    seeds, times = sorted(rows["seed"].unique()), sorted(rows["time"].unique())
    if len(labels) != len(times) + 1:
        raise ValueError(
            f"{len(labels)} snapshot labels {list(labels)} for {len(times)} predicted snapshots of "
            f"{dataset!r}; {len(times) + 1} are needed"
        )
    names = [f"{a} to {b}" for a, b in zip(labels[:-1], labels[1:], strict=True)]
    table = []
    for method, scheme in order(rows, methods, references):
        values, reasons = by_seed(select(rows, method=method, scheme=scheme), seeds, times)
        columns = [values[time] for time in times] + [values.mean(axis=1, skipna=False)]
        for name, column in zip([*names, MEAN], columns, strict=True):
            key = {"method": method, "scheme": scheme, "interval": name}
            table.append(key | statistics(column, reasons))
    return pd.DataFrame(table)
