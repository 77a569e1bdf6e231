"""The long metrics turned into tables: means over seeds, with what failed counted and named.

A table is tidy (one number per row) with the columns of :data:`STATISTICS` behind its keys;
:mod:`jko.readable` makes text of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

METRICS_COLUMNS = "dataset method seed mode scheme metric time value reason manifest".split()
STATISTICS = "mean std n n_failed reason".split()
MEAN = "mean over intervals"
NO_ROW = "no row in the metrics"
# Where the metrics of a landscape stand: predictions are one step, energies are compared as fitted.
_MODES = {"w1": "one_step", "bw2_uvp": "one_step", "l2_uvp": "fit"}


def read_metrics(paths: str | Path | Iterable[str | Path]) -> pd.DataFrame:
    """Metrics files stacked: `time` is NaN for a number over all times, `reason` "" if it is good.

    Raises:
        ValueError: a file lacks a column.
    """
    frames = []
    for path in [paths] if isinstance(paths, str | Path) else paths:
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

    Methods stand in config order, each with the scheme that it was learned for, an implicit one then
    also with the explicit step if that was measured; then the references, with what was measured.
    What was not measured keeps its row.

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


def landscapes(
    metrics: pd.DataFrame,
    datasets: Sequence[str],
    methods: Mapping[str, Mapping],
    references: Sequence[str],
) -> pd.DataFrame:
    """Errors on simulated data, each the mean over times per seed, then over seeds.

    w1 of one-step predictions, its excess over the oracle of the same seed (both in units of x),
    bw2_uvp of one-step predictions and l2_uvp of the energies (both in %). A metric has rows for
    the (method, scheme) pairs that were measured, and for every method under its own scheme.

    Args:
        datasets: ids of the form {landscape}_paired or {landscape}_unpaired.

    Returns:
        Columns landscape, pairing, method, scheme, metric, then :data:`STATISTICS`.
    """
    table = []
    for dataset in datasets:
        landscape, _, pairing = dataset.rpartition("_")
        if not landscape or pairing not in ("paired", "unpaired"):
            raise ValueError(
                f"dataset {dataset!r} must be named {{landscape}}_paired or {{landscape}}_unpaired"
            )
        key = {"landscape": landscape, "pairing": pairing}
        for metric in _MODES:
            found = errors(metrics, dataset, metric, methods, references)
            if not found:
                raise ValueError(
                    f"the metrics hold no {_MODES[metric]} {metric} of dataset {dataset!r}"
                )
            table += [key | row for row in found]
    return pd.DataFrame(table)


def errors(
    metrics: pd.DataFrame,
    dataset: str,
    metric: str,
    methods: Mapping[str, Mapping],
    references: Sequence[str],
) -> list[dict]:
    """One metric on one dataset: the mean over times per seed, then statistics over seeds.

    Returns:
        A row with method, scheme, metric and :data:`STATISTICS` for every method and every reference that was
        measured; behind each w1, where there is an oracle, its excess over that of the same seed. None where
        the metric was not measured.
    """
    mode = _MODES[metric]
    rows = select(metrics, dataset=dataset, mode=mode, metric=metric)
    if rows.empty:
        return []
    # A number over all times counts only where there are none per time.
    per_time = rows["time"].notna()
    rows = rows[per_time] if per_time.any() else rows.assign(time=0.0)
    if mode == "fit":
        # Nothing is predicted: an energy stands under the scheme that it was learned with.
        own = {name: settings.get("scheme") for name, settings in methods.items()}
        rows = rows.assign(scheme=rows["method"].map(own).fillna(rows["scheme"]))
    seeds, times = sorted(rows["seed"].unique()), sorted(rows["time"].unique())
    oracle, _ = by_seed(select(rows, method="oracle"), seeds, times)
    oracle = oracle.mean(axis=1, skipna=False)
    measured = [name for name in references if (rows["method"] == name).any()]
    table = []
    for method, scheme in order(rows, methods, measured):
        values, reasons = by_seed(select(rows, method=method, scheme=scheme), seeds, times)
        column = values.mean(axis=1, skipna=False)
        key = {"method": method, "scheme": scheme}
        table.append(key | {"metric": metric} | statistics(column, reasons))
        if metric == "w1" and "oracle" in measured:
            excess = statistics(column - oracle, reasons | _without(oracle))
            table.append(key | {"metric": "w1_excess"} | excess)
    return table


def _without(oracle: pd.Series) -> dict[int, str]:
    return {int(seed): "no oracle to compare with" for seed in oracle.index[oracle.isna()]}


def search(
    metrics: pd.DataFrame, datasets: Sequence[str], candidates: Mapping[str, Mapping]
) -> pd.DataFrame:
    """Errors of every candidate of a search by its own scheme, and of what needs no learning.

    Args:
        candidates: {name: {method, candidate (its settings in words), scheme}}.

    Returns:
        Columns dataset, method, candidate, scheme, metric, then :data:`STATISTICS`.
    """
    references = ["oracle", "zero_energy", "sampling_floor", "mean_shift"]
    table = []
    for dataset in datasets:
        for metric in _MODES:
            for row in errors(metrics, dataset, metric, candidates, references):
                of = candidates.get(row["method"], {"candidate": "", "scheme": row["scheme"]})
                if row["scheme"] == of["scheme"]:
                    name = {"method": of.get("method", row["method"]), "candidate": of["candidate"]}
                    table.append({"dataset": dataset} | row | name)
    frame = pd.DataFrame(table)
    first = ["dataset", "method", "candidate", "scheme", "metric"]
    return frame[[*first, *STATISTICS]]


def summary(
    kinds: Mapping[str, str],
    shapes: Mapping[str, tuple[int, int, int]],
    left_out: Mapping[str, str],
) -> pd.DataFrame:
    """One row per dataset: its size, or why it was left out.

    Args:
        kinds: {dataset: kind}, all datasets in order.
        shapes: {dataset: (snapshots, particles, dimension)} of those that were made.
        left_out: {dataset: reason} of the others.

    Raises:
        ValueError: a dataset is in neither or in both.
    """
    rows = []
    for dataset, kind in kinds.items():
        if (dataset in shapes) == (dataset in left_out):
            raise ValueError(f"dataset {dataset!r} must be either made or left out, with a reason")
        snapshots, particles, dimension = shapes.get(dataset, (pd.NA, pd.NA, pd.NA))
        rows.append(
            {
                "dataset": dataset,
                "kind": kind,
                "status": "ok" if dataset in shapes else "left out",
                "reason": left_out.get(dataset, ""),
                "snapshots": snapshots,
                "particles": particles,
                "dimension": dimension,
            }
        )
    sizes = dict.fromkeys(("snapshots", "particles", "dimension"), "Int64")
    return pd.DataFrame(rows).astype(sizes)


def benchmarks(
    tasks: Sequence[str], phases: Sequence[str | Path], runs: Sequence[str | Path]
) -> pd.DataFrame:
    """Seconds and memory of tasks: their whole processes over all runs, and the parts of the last run.

    Args:
        tasks: names. phases: for each a JSON file {part: seconds}. runs: for each Snakemake's benchmark
            file, with columns s and max_rss (MB) and one row per run.

    Returns:
        Columns task, phase, median_s, min_s, max_s, runs, max_rss_mb; ``process`` is the whole job.
    """
    rows = []
    for task, phase_file, run_file in zip(tasks, phases, runs, strict=True):
        run = pd.read_csv(run_file, sep="\t")
        seconds, memory = run["s"], run["max_rss"].max()
        whole = (seconds.median(), seconds.min(), seconds.max(), len(run), memory)
        rows.append((task, "process", *whole))
        for phase, value in json.loads(Path(phase_file).read_text(encoding="utf-8")).items():
            rows.append((task, phase, value, value, value, 1, float("nan")))
    names = ["task", "phase", "median_s", "min_s", "max_s", "runs", "max_rss_mb"]
    return pd.DataFrame(rows, columns=names).round(2)
