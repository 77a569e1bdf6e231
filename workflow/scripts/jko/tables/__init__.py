"""The long metrics turned into tables: means over seeds, with what failed counted and named.

A table is tidy (one number per row) with the columns of :data:`STATISTICS` behind its keys;
:mod:`jko.readable` makes text of it. Here stands what all tables share; each kind has its module.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

METRICS_COLUMNS = "dataset method seed mode scheme metric time value reason manifest".split()
STATISTICS = "mean std n n_failed reason".split()
NO_ROW = "no row in the metrics"


def read_metrics(paths: str | Path | Iterable[str | Path]) -> pd.DataFrame:
    """Metrics files stacked: `time` is NaN for a number over all times, `reason` "" if it is good.

    Raises:
        ValueError: there is no file, or a file lacks a column.
    """
    frames = []
    paths = [paths] if isinstance(paths, str | Path) else list(paths)
    if not paths:
        raise ValueError("no metrics to read; the experiment has no datasets in this configuration")
    for path in paths:
        frame = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
        missing = [name for name in METRICS_COLUMNS if name not in frame.columns]
        if missing:
            raise ValueError(f"{path}: columns {missing} are missing; found {list(frame.columns)}")
        frames.append(frame)
    metrics = pd.concat(frames, ignore_index=True)
    for name in ("value", "time"):
        metrics[name] = metrics[name].replace("", "nan").astype(float)
    return metrics.astype({"seed": int})


def select(metrics: pd.DataFrame, **wanted: str) -> pd.DataFrame:
    """The rows whose named columns hold the given values."""
    keep = np.ones(len(metrics), dtype=bool)
    for column, value in wanted.items():
        keep &= (metrics[column] == value).to_numpy()
    return metrics[keep]


def order(
    metrics: pd.DataFrame, methods: Mapping[str, Mapping], references: Sequence[str]
) -> list[tuple[str, str]]:
    """The (method, scheme of the prediction) pairs of a table, in the order of its rows.

    Methods stand in config order, each with the scheme that it was learned for, an implicit one
    then also with the explicit step, then with its own transport map, if these were measured;
    then the references, with what was measured. What was not measured keeps its row.

    Args:
        methods: {name: settings}, where settings may hold `scheme`.
    """
    pairs = []
    for name in [*methods, *references]:
        present = set(select(metrics, method=name)["scheme"])
        own = methods.get(name, {}).get("scheme")
        schemes = [own] if own else sorted(present) or ["none"]
        if own == "implicit" and "explicit" in present:
            schemes.append("explicit")
        if own and "map" in present:
            schemes.append("map")
        pairs += [(name, scheme) for scheme in schemes]
    return pairs


def by_seed(
    rows: pd.DataFrame, seeds: Sequence[int], times: Sequence[float]
) -> tuple[pd.DataFrame, dict[int, str]]:
    """One method's values as (seeds x times), NaN where there is none, and the reasons per seed.

    Raises:
        ValueError: two rows for one seed and time.
    """
    twice = rows.duplicated(["seed", "time"])
    if twice.any():
        row = rows[twice].iloc[0]
        raise ValueError(
            f"two values of {row.metric} for {row.dataset}, {row.method}, {row.scheme}, "
            f"seed {row.seed}, time {row.time:g}; one is allowed"
        )
    values = rows.pivot(index="seed", columns="time", values="value")
    values = values.reindex(index=seeds, columns=times).astype(float)
    values = values.where(np.isfinite(values))
    reasons = {}
    for seed in values.index[values.isna().any(axis=1)]:
        given = rows.loc[(rows["seed"] == seed) & (rows["reason"] != ""), "reason"].unique()
        absent = set(times) - set(rows.loc[rows["seed"] == seed, "time"])
        reasons[int(seed)] = "; ".join(given) or (NO_ROW if absent else "not a finite number")
    return values, reasons


def statistics(values: pd.Series, reasons: Mapping[int, str]) -> dict:
    """Mean and std (ddof = 1) over the good seeds, the numbers of good and failed, and why.

    Args:
        values: one number per seed (the index), NaN for a seed that failed.
    """
    good = values.dropna()
    failed = values.index[values.isna()]
    by_reason: dict[str, list[str]] = {}
    for seed in failed:
        by_reason.setdefault(reasons.get(int(seed), NO_ROW), []).append(str(seed))
    return {
        "mean": float(good.mean()) if len(good) else np.nan,
        "std": float(good.std(ddof=1)) if len(good) > 1 else np.nan,
        "n": len(good),
        "n_failed": len(failed),
        "reason": "; ".join(f"seed {', '.join(s)}: {why}" for why, s in by_reason.items()),
    }
