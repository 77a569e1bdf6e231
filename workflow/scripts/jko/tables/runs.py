"""What was run: the datasets, and what tasks take."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd


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
    """Seconds and memory of tasks: their whole processes over all runs,
    and the parts of the last run.

    Args:
        tasks: names. phases: for each a JSON file {part: seconds}. runs: for each Snakemake's
            benchmark file, with columns s and max_rss (MB) and one row per run.

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
