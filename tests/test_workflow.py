"""The workflow itself: what reruns after which change, interruption, missing
cells, an own file, errors.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from checkouts import copy_workflow

METRICS = "results/metrics.tsv"

# Checkouts share what JAX compiled.
_CACHE = tempfile.TemporaryDirectory(prefix="jko-workflow-")
JOBS = {"JAX_COMPILATION_CACHE_DIR": _CACHE.name}

# One landscape, two methods and no cells: a short run from the simulation to tables and figures.
TINY = """
landscapes: [flowers]
run: [potentials, level_curves]
experiments:
  potentials:
    datasets: ["{landscape}_paired"]
    methods: [jkonet_star, jkonet_star_linear_explicit]
  level_curves:
    methods: [jkonet_star_linear_explicit]
synthetic: {n_train: 40, steps: 2, seeds: 2}
methods:
  jkonet_star: {epochs: 2000, batch: 40}
"""


def checkout(folder: Path, tiny: str = TINY) -> Path:
    """A copy of the workflow, with the tiny configuration, that a test may edit."""
    copy_workflow(folder)
    (folder / "tiny.yaml").write_text(tiny)
    return folder


def command(*arguments: str, more_configs: Sequence[str] = ()) -> list[str]:
    # Targets stand before --configfile, which takes every word behind it.
    configs = ["--configfile", "tiny.yaml", *more_configs]
    return [sys.executable, "-m", "snakemake", *arguments, "--cores", "2", *configs]


def snakemake(
    folder: Path, *arguments: str, more_configs: Sequence[str] = (), **environment: str
) -> subprocess.CompletedProcess:
    """Run the workflow in a checkout, with further variables in its environment."""
    return subprocess.run(
        command(*arguments, more_configs=more_configs),
        cwd=folder,
        env=os.environ | JOBS | environment,
        capture_output=True,
        text=True,
    )


def planned(folder: Path, *arguments: str) -> set[tuple[str, str]]:
    """(rule, first output) of what a run would do."""
    run = snakemake(folder, "all", "--dry-run", *arguments)
    assert run.returncode == 0, run.stderr
    jobs, rule = set(), ""
    for line in (run.stdout + run.stderr).splitlines():
        if line.startswith(("rule ", "localrule ")):
            rule = line.split()[1].rstrip(":")
        elif line.strip().startswith("output:"):
            jobs.add((rule, line.split("output:")[1].split(",")[0].strip()))
    return jobs


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A checkout in which `all` has run."""
    folder = checkout(tmp_path_factory.mktemp("finished"))
    run = snakemake(folder, "all")
    assert run.returncode == 0, run.stdout + run.stderr
    return folder


@pytest.fixture
def edited(finished: Path):
    """Replace text in a file of the finished checkout, and put it back after the test."""
    kept: dict[Path, tuple[str, os.stat_result]] = {}

    def edit(name: str, old: str, new: str) -> None:
        path = finished / name
        text = path.read_text()
        assert text.count(old) >= 1, f"{name} does not hold {old!r}"
        kept.setdefault(path, (text, path.stat()))
        path.write_text(text.replace(old, new, 1))

    yield edit
    for path, (text, status) in kept.items():
        path.write_text(text)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_all_makes_every_output(finished):
    names = ("tables/potentials.tsv", "tables/potentials.md", "tables/summary.tsv", "metrics.tsv")
    figures = ("figures/schemes.pdf", "figures/schemes.png", "figures/level_curves.pdf")
    for name in names + figures:
        assert (finished / "results" / name).stat().st_size > 0, name
    metrics = pd.read_csv(finished / METRICS, sep="\t")
    assert set(metrics["dataset"]) == {"flowers_paired"}
    learned = {"jkonet_star", "jkonet_star_linear_explicit"}
    references = {"sampling_floor", "identity", "mean_shift", "oracle", "zero_energy"}
    references |= {"implicit_oracle"}
    assert set(metrics["method"]) == learned | references
    # A number is there, or the reason why not.
    assert (metrics["value"].isna() == metrics["reason"].notna()).all()
    assert metrics.loc[metrics["method"] != "jkonet_star_linear_explicit", "value"].notna().all()


def test_a_second_run_does_nothing_and_is_quick(finished):
    started = time.monotonic()
    run = snakemake(finished, "all")
    assert run.returncode == 0
    assert "Nothing to be done" in run.stdout + run.stderr
    # The promise is 10 s on an idle machine; a loaded one gets three times as long.
    assert time.monotonic() - started < 30


def test_editing_one_method_retrains_that_method_only(finished, edited):
    edited("workflow/scripts/jko/methods/jkonet_star_linear.py", "_FOLDS = 5", "_FOLDS = 4")
    trained = {output for rule, output in planned(finished) if rule == "train"}
    assert trained == {"results/flowers_paired/jkonet_star_linear_explicit/fit.msgpack"}


def test_editing_a_setting_retrains_that_method_only(finished, edited):
    edited("tiny.yaml", "epochs: 2000", "epochs: 2001")
    trained = {output for rule, output in planned(finished) if rule == "train"}
    assert trained and all("/jkonet_star/" in output for output in trained)


@pytest.mark.parametrize(
    "name", ["workflow/scripts/jko/plotting/errors.py", "workflow/scripts/figure_errors.py"]
)
def test_editing_a_plot_draws_again_and_trains_nothing(finished, edited, name):
    edited(name, "\n\nfrom jko", '\n\nEDITED = "by a test"\nfrom jko')
    rules = {rule for rule, _ in planned(finished)}
    assert "figure_schemes" in rules
    assert not rules & {"simulate", "couple", "train", "evaluate", "evaluate_references"}


def test_a_comment_or_docstring_reruns_nothing(finished, edited):
    name = "workflow/scripts/jko/methods/jkonet_star.py"
    edited(name, '"""JKOnet*:', '"""By JKOnet*:')
    edited(name, "\n\n\n", "\n\n\n# A reason.\n")
    assert planned(finished) == set()


def test_a_manifest_names_settings_data_packages_and_commit(finished):
    manifest = pd.read_json(
        finished / "results/flowers_paired/jkonet_star/manifest.json", typ="series", dtype=False
    )
    assert manifest["settings"]["method"]["epochs"] == 2000
    assert manifest["settings"]["dataset"]["potential"] == "flowers"
    assert manifest["settings"]["coupling"] == {"kind": "exact"}
    assert manifest["seeds"] == {"0": "ok", "1": "ok"}
    assert len(manifest["inputs"]["snapshots"]["sha256"]) == 64
    assert {"jax", "numpy"} <= set(manifest["packages"])
    assert "commit" in manifest.index


def test_kill_9_in_training_and_resume_end_with_the_same_bytes(finished, tmp_path):
    target = "results/flowers_paired/jkonet_star/fit.msgpack"
    disturbed = checkout(tmp_path)
    process = subprocess.Popen(
        command(METRICS),
        cwd=disturbed,
        env=os.environ | JOBS,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    log = disturbed / "results/logs/train/flowers_paired-jkonet_star.log"
    deadline = time.monotonic() + 300
    while not (log.exists() and "epoch" in log.read_text()):
        assert process.poll() is None and time.monotonic() < deadline, "the training never began"
        time.sleep(0.05)
    # The whole process group: the run and the jobs that it started.
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (disturbed / target).exists()
    assert not (disturbed / METRICS).exists()

    assert snakemake(disturbed, "--unlock").returncode == 0
    resumed = snakemake(disturbed, METRICS)
    assert resumed.returncode == 0, resumed.stderr
    assert (disturbed / METRICS).read_bytes() == (finished / METRICS).read_bytes()


def cells_nowhere(folder: Path) -> dict[str, str]:
    """Take the cells away: no path, and a download address where nothing listens."""
    path = folder / "workflow/scripts/jko/embryoid.py"
    text = path.read_text()
    assert "https://raw.githubusercontent.com" in text
    path.write_text(text.replace("https://raw.githubusercontent.com", "http://127.0.0.1:9"))
    return {"JKO_EMBRYOID": ""}


NO_CELLS = TINY.replace(
    "run: [potentials, level_curves]\nexperiments:",
    "run: [embryoid, level_curves]\nexperiments:\n  embryoid: {methods: [jkonet_star_linear_explicit]}",
)


def test_without_cells_all_finishes_and_says_so(tmp_path):
    folder = checkout(tmp_path, tiny=NO_CELLS)
    run = snakemake(folder, "all", **cells_nowhere(folder))
    assert run.returncode == 0, run.stderr
    assert "embryoid is left out: no cells in the config's path" in run.stderr
    summary = pd.read_csv(folder / "results/tables/summary.tsv", sep="\t").set_index("dataset")
    assert summary.loc["embryoid", "status"] == "left out"
    assert "no network to 127.0.0.1" in summary.loc["embryoid", "reason"]
    assert summary.loc["flowers_paired", "status"] == "ok"
    assert not (folder / "results/embryoid").exists()
    assert (folder / "results/figures/level_curves.pdf").exists()


def test_without_cells_their_own_target_is_a_clear_error(tmp_path):
    folder = checkout(tmp_path, tiny=NO_CELLS)
    run = snakemake(folder, "results/tables/embryoid.tsv", **cells_nowhere(folder))
    assert run.returncode != 0
    assert "127.0.0.1" in run.stdout + run.stderr
    assert not (folder / "results/tables/embryoid.tsv").exists()


def test_an_own_h5ad_gives_potential_drift_and_forecast(tmp_path):
    rng = np.random.default_rng(0)
    sizes = {0.0: 60, 1.0: 80, 2.5: 70}  # unequal sizes and gaps
    day = np.repeat(list(sizes), list(sizes.values()))
    own = anndata.AnnData(
        obs=pd.DataFrame({"day": day}, index=[f"cell{i}" for i in range(len(day))]),
        obsm={"X_pca": rng.normal(size=(len(day), 4)) + day[:, None]},
    )
    (tmp_path / "data").mkdir()
    own.write_h5ad(tmp_path / "data" / "own.h5ad")
    entry = (
        "datasets:\n  own: {kind: h5ad, path: data/own.h5ad, time_key: day, n_dims: 3, seeds: 2}\n"
    )
    folder = checkout(tmp_path, tiny=TINY + entry)
    target = "results/own/jkonet_star/cells.h5ad"
    run = snakemake(folder, target)
    assert run.returncode == 0, run.stdout + run.stderr
    cells = anndata.read_h5ad(folder / target)
    assert list(cells.obs_names) == list(own.obs_names)
    assert np.isfinite(cells.obs["jko_potential"]).all()
    assert cells.obsm["jko_drift"].shape == (210, 3)
    # From 60 cells at day 0 to days 1 and 2.5, and from 70 cells one more interval to day 4.
    forecast = pd.Series(cells.uns["jko_forecast"]["time"]).value_counts()
    assert forecast.to_dict() == {1.0: 60, 2.5: 60, 4.0: 70}


@pytest.mark.parametrize(
    ("extra", "sentence"),
    [
        ("methods: {jkonet_star: {epoch: 5}}", "config methods/jkonet_star: unknown key 'epoch'"),
        ("synthetic: {tau: -1}", "less than or equal to the minimum of 0"),
        ("datasets: {x: {kind: csv}}", "config datasets/x: kind is 'csv'; it must be one of"),
        (
            "experiments: {potentials: {methods: [jko]}}",
            "experiments/potentials/methods names 'jko'",
        ),
    ],
)
def test_a_wrong_configuration_is_one_clear_sentence(tmp_path, extra, sentence):
    folder = checkout(tmp_path)
    (folder / "wrong.yaml").write_text(extra)
    run = snakemake(folder, "all", "--dry-run", more_configs=("wrong.yaml",))
    assert run.returncode != 0
    assert sentence in " ".join((run.stdout + run.stderr).split())


def test_an_unknown_landscape_is_named_with_those_that_exist(tmp_path):
    folder = checkout(tmp_path, tiny=TINY.replace("[flowers]", "[flower]"))
    run = snakemake(folder, "results/flower_paired/snapshots.npz")
    text = run.stdout + run.stderr
    assert run.returncode != 0
    assert "'flower'" in text and "styblinski_tang" in text
