# What all rules share: the checked configuration, what it selects, and digests of the code.
import os
import re
import sys

for folder in ("workflow/rules", "workflow/scripts"):
    sys.path.insert(0, os.path.join(workflow.basedir, folder))

import settings
from digest import digest as code
from jko import download, embryoid
from snakemake.exceptions import WorkflowError

# Small networks gain nothing from threads within a job, and jobs run side by side.
os.environ.setdefault("NPROC", "1")
# Without the two limits JAX keeps nothing that compiles in less than a second.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", os.path.join(os.getcwd(), ".jax_cache"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

try:
    settings.complete(config, Path(workflow.basedir) / "workflow" / "schemas")
except settings.SettingsError as error:
    raise WorkflowError(str(error))


wildcard_constraints:
    dataset="|".join(config["datasets"]),
    method="|".join(config["methods"]),
    coupling="|".join(config["couplings"]),
    density="|".join(config["densities"]),


def ids_of_kind(kind):
    """A pattern that matches the datasets of a kind, and nothing where there are none."""
    ids = [name for name, entry in config["datasets"].items() if entry["kind"] == kind]
    return "|".join(ids) or "(?!)"


def dataset_settings(wildcards):
    """What a dataset is, with all defaults; a dataset that has no n_test has as many as n_train."""
    entry = dict(config["datasets"][wildcards.dataset])
    if entry["kind"] == "synthetic" and entry["n_test"] is None:
        entry["n_test"] = entry["n_train"]
    return entry


def method_settings(wildcards):
    """What a method is on a dataset, with all defaults."""
    return settings.method_settings(config, wildcards.method, wildcards.dataset)


def method_code(script):
    """A function of the wildcards: digest of a script together with the module of the method, and of that it starts from."""

    def of(wildcards):
        names = [wildcards.method, method_settings(wildcards).get("start")]
        kinds = [config["methods"][name]["kind"] for name in names if name is not None]
        return code(script, [f"jko.methods.{kind}" for kind in dict.fromkeys(kinds)])

    return of


def precomputed(wildcards):
    """The coupling and the density that a method asks for, and the fit that it starts from."""
    method = method_settings(wildcards)
    places = {
        "coupling": "coupling-{}.npz",
        "density": "density-{}.npz",
        "start": "{}/fit.msgpack",
    }
    return {
        key: f"results/{wildcards.dataset}/{place.format(method[key])}"
        for key, place in places.items()
        if method.get(key) is not None
    }


def precomputed_settings(wildcards):
    """What the coupling and the density are that a method asks for, and the method that it starts from."""
    method = method_settings(wildcards)
    groups = {"coupling": "couplings", "density": "densities"}
    found = {
        key: config[group][method[key]]
        for key, group in groups.items()
        if method.get(key) is not None
    }
    if method.get("start") is not None:
        found["start"] = settings.method_settings(config, method["start"], wildcards.dataset)
    return found


def embryoid_place(entry):
    """Where the embryoid body cells lie for a dataset's entry, or None; and the files it needs."""
    needed = embryoid.files_needed(entry["n_dims"], entry["standardise"])
    try:
        place = embryoid.locate(entry["path"], os.environ, "resources/embryoid", needed)
        return (None if place is None else embryoid.files_at(place, needed)), needed
    except ValueError as error:
        raise WorkflowError(str(error))


def embryoid_input(wildcards):
    """The files of the cells; where there are none, those that rule fetch_embryoid downloads."""
    files, needed = embryoid_place(config["datasets"][wildcards.dataset])
    return list(files or [f"resources/embryoid/{name}" for name in needed])


def experiment_datasets(name):
    """Datasets of an experiment; none where the configuration has no such experiment."""
    return settings.datasets_of(config, name) if name in config["experiments"] else []


def experiment_excluded(name):
    """Combinations without a dataset of the grids of an experiment: id -> settings and the reason."""
    found = {}
    for grid in config["experiments"].get(name, {}).get("grids", []):
        for dataset, entry in settings.excluded_of_grid(config, grid).items():
            seeds = entry["seeds"]
            found[dataset] = {
                **entry,
                "seeds": list(range(seeds)) if isinstance(seeds, int) else seeds,
            }
    return found


def experiment_methods(name):
    """Methods of an experiment; none where the configuration has no such experiment."""
    return config["experiments"].get(name, {"methods": []})["methods"]


def first_method(name):
    """The first method of an experiment, or "" where it has none."""
    return next(iter(experiment_methods(name)), "")


def selected_datasets():
    """Datasets of all experiments that are run, in order."""
    names = [dataset for name in config["run"] for dataset in experiment_datasets(name)]
    return list(dict.fromkeys(names))


def find_left_out():
    """Selected datasets that cannot be had here, and why: cells with neither a file nor a network."""
    reasons = {}
    for dataset in selected_datasets():
        entry = config["datasets"][dataset]
        if entry["kind"] == "embryoid":
            files, needed = embryoid_place(entry)
            url = embryoid.URLS[needed[0]]
            if files is None and not download.reachable(url):
                reasons[dataset] = (
                    f"no cells in the config's path, {embryoid.VARIABLE} or resources/embryoid, and "
                    f"no network to {url.split('/')[2]}"
                )
    return reasons


LEFT_OUT = find_left_out()
for dataset, reason in LEFT_OUT.items():
    logger.warning(f"{dataset} is left out: {reason}")


def left_out_datasets():
    """Datasets that cannot be had here -> the reason."""
    return LEFT_OUT


def available_datasets():
    """Selected datasets without those left out."""
    return [dataset for dataset in selected_datasets() if dataset not in LEFT_OUT]


def available_experiments():
    """Experiments that are run and have datasets, all of which can be had."""
    wanted = {name: set(experiment_datasets(name)) for name in config["run"]}
    return [name for name, datasets in wanted.items() if datasets and not datasets & set(LEFT_OUT)]


def experiment_outputs():
    """Tables and figures of the experiments that can be run."""
    suffix = {"tables": "tsv", "figures": "pdf"}
    outputs = [
        output
        for name in available_experiments()
        for output in config["experiments"][name].get("outputs", [])
    ]
    return [f"results/{output}.{suffix[output.split('/')[0]]}" for output in dict.fromkeys(outputs)]


def all_metrics():
    """Metrics of every method on every dataset of the experiments that are run, and of the references."""
    paths = []
    for name in config["run"]:
        for dataset in experiment_datasets(name):
            if dataset not in LEFT_OUT:
                paths += [
                    f"results/{dataset}/{method}/metrics.tsv"
                    for method in [*experiment_methods(name), "reference"]
                ]
    return list(dict.fromkeys(paths))


def search_candidates(wildcards):
    """Candidates of a search: name -> its method, what it changes in words, and its scheme."""
    changed = config["searches"][wildcards.search]["candidates"]
    return {
        name: {
            "method": name.split("__")[0],
            "candidate": ", ".join(f"{key} {entry[key]}" for key in changed),
            "scheme": entry["scheme"],
        }
        for name, entry in settings.candidates_of(config, wildcards.search).items()
    }


def search_metrics(wildcards):
    """Metrics of every candidate of a search on its datasets, and of the references."""
    return expand(
        "results/{dataset}/{method}/metrics.tsv",
        dataset=config["searches"][wildcards.search]["datasets"],
        method=[*settings.candidates_of(config, wildcards.search), "reference"],
    )


# Benchmark task -> what it runs on; what it does stands in scripts/benchmark.py.
BENCHMARKS = {
    "train_particles": {
        "dataset": "benchmark_particles",
        "method": "jkonet_star",
        "needs": ["coupling-exact.npz"],
    },
    "train_inverse": {
        "dataset": "benchmark_particles",
        "method": "ijkonet",
        "needs": ["coupling-exact.npz"],
    },
    "train_linear": {
        "dataset": "benchmark_particles",
        "method": "jkonet_star_linear",
        "needs": ["coupling-exact.npz"],
    },
    "train_linear_full": {
        "dataset": "benchmark_particles",
        "method": "jkonet_star_linear_full",
        "needs": ["coupling-exact.npz", "density-gmm.npz"],
    },
    "train_weak": {
        "dataset": "benchmark_unpaired",
        "method": "weak_form",
        "needs": [],
    },
    "couple_cells": {"dataset": "benchmark_cells", "method": "jkonet_star_time", "needs": []},
    "evaluate_cells": {
        "dataset": "benchmark_cells",
        "method": "jkonet_star_time",
        "needs": ["jkonet_star_time/fit.msgpack"],
    },
}


def benchmark_dataset(wildcards):
    """The snapshots that a benchmark task runs on."""
    return f"results/{BENCHMARKS[wildcards.task]['dataset']}/snapshots.npz"


def benchmark_needs(wildcards):
    """What a benchmark task starts from, beside the snapshots."""
    entry = BENCHMARKS[wildcards.task]
    return [f"results/{entry['dataset']}/{name}" for name in entry["needs"]]


def benchmark_settings(wildcards):
    """The method of a benchmark task on its dataset."""
    entry = BENCHMARKS[wildcards.task]
    return settings.method_settings(config, entry["method"], entry["dataset"])


def experiment_files(name, file, methods=()):
    """A file of every method on every dataset of an experiment, dataset by dataset."""
    return expand(
        f"results/{{dataset}}/{{method}}/{file}",
        dataset=experiment_datasets(name),
        method=[*experiment_methods(name), *methods],
    )


def experiment_metrics(name):
    """Metrics of every method and of the references on every dataset of an experiment."""
    return experiment_files(name, "metrics.tsv", ["reference"])


def coupling_of(name, method, dataset=None):
    """The coupling that a method of an experiment learns from."""
    entry = (
        settings.method_settings(config, method, dataset) if dataset else config["methods"][method]
    )
    if "coupling" not in entry:
        raise WorkflowError(
            f"config experiments/{name} has the method {method!r}, which learns from no coupling; "
            "its tables are of methods that learn from one"
        )
    return entry["coupling"]


def experiment_couplings(name, file):
    """A file of the coupling behind every fit of an experiment, in the order of :func:`experiment_files`."""
    return [
        f"results/{dataset}/{file.format(coupling=coupling_of(name, method, dataset))}"
        for dataset in experiment_datasets(name)
        for method in experiment_methods(name)
    ]


def coupling_words(name):
    """Methods of an experiment -> their coupling in words, with the number that tells it from others."""
    words = {}
    for method in experiment_methods(name):
        entry = config["couplings"][coupling_of(name, method)]
        number = entry.get("epsilon", entry.get("batch", ""))
        words[method] = f"{entry['kind']} {number}".rstrip()
    return words


def experiment_method_settings(name):
    """Methods of an experiment -> their settings."""
    return {method: config["methods"][method] for method in experiment_methods(name)}


def experiment_modules(name):
    """The modules of the methods of an experiment, for the digest of a script that loads their fits."""
    kinds = [config["methods"][method]["kind"] for method in experiment_methods(name)]
    return [f"jko.methods.{kind}" for kind in dict.fromkeys(kinds)]


def learns(name, term):
    """Whether a method of an experiment learns a term of the energy."""
    return any(
        term in found.get("terms", []) for found in experiment_method_settings(name).values()
    )


def experiment_columns(name, **columns):
    """Datasets of an experiment -> {column of its tables: the setting of the dataset that stands there}."""
    found = {}
    for dataset in experiment_datasets(name):
        entry = config["datasets"][dataset]
        lacking = [key for key in columns.values() if entry.get(key) is None]
        if lacking:
            raise WorkflowError(
                f"config experiments/{name} has the dataset {dataset!r} without {lacking[0]}; "
                f"its tables are of datasets that have {' and '.join(columns.values())}"
            )
        found[dataset] = {column: entry[key] for column, key in columns.items()}
    return found


def cells_metrics(wildcards):
    """Metrics of the cells that a table shows: the methods of the experiment of its name, and references."""
    methods = [*experiment_methods(wildcards.table), "reference"]
    return expand("results/embryoid/{method}/metrics.tsv", method=methods)


def table_methods(wildcards):
    """Methods of the experiment that a table is named after -> their settings."""
    return experiment_method_settings(wildcards.table)


def figure_method(wildcards):
    """The method that a figure of level curves shows: the first of the experiment of its name."""
    return first_method(wildcards.figure)


def figure_snapshots(wildcards):
    """Snapshots of the datasets of the experiment that a figure is named after."""
    return expand("results/{dataset}/snapshots.npz", dataset=experiment_datasets(wildcards.figure))


def figure_predictions(wildcards):
    """Predictions of the method that a figure shows, in the order of :func:`figure_snapshots`."""
    return expand(
        "results/{dataset}/{method}/predictions.npz",
        dataset=experiment_datasets(wildcards.figure),
        method=experiment_methods(wildcards.figure)[:1],
    )
