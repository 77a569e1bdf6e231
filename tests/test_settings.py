"""The configuration: defaults filled in, and one sentence for each way to get it wrong."""

from __future__ import annotations

import copy
import itertools
from pathlib import Path

import pytest
import settings
import yaml
from settings import SettingsError

ROOT = Path(__file__).parents[1]
SCHEMAS = ROOT / "workflow" / "schemas"
# A small configuration with an entry of every group.
CONFIG = yaml.safe_load("""
landscapes: [flowers, sphere]
run: [first]
experiments:
  first:
    datasets: ["{landscape}_paired", own]
    methods: [mine]
    outputs: [tables/first]
datasets:
  own: {kind: h5ad, path: own.h5ad, time_key: day}
  raw: {kind: counts, path: raw, times: {a: 0, b: 1}, validation_fraction: 0.2}
  cells: {kind: embryoid}
  sphere_paired: {tau: 0.5}
synthetic: {n_train: 50, tau: 0.1}
methods:
  mine: {kind: jkonet_star, overrides: {own: {epochs: 7}}}
  line: {kind: jkonet_star_linear}
couplings:
  exact: {kind: exact}
densities:
  gmm: {kind: gmm}
grids:
  sizes:
    id: "grid_{potential}_d{dimension}"
    vary: {potential: [flowers, sphere], dimension: [3, 5]}
    settings: {tau: 0.2, pairing: paired}
searches:
  rates:
    datasets: [raw]
    methods: [mine]
    candidates: {learning_rate: [0.1, 0.001], hidden: [[8, 8]]}
""")


def completed(change=lambda config: None) -> dict:
    config = copy.deepcopy(CONFIG)
    change(config)
    settings.complete(config, SCHEMAS)
    return config


def test_landscapes_become_datasets_with_what_they_share_and_what_is_their_own():
    datasets = completed()["datasets"]
    simulated = {name for name in datasets if datasets[name]["kind"] == "synthetic"}
    assert {name for name in simulated if not name.startswith("grid_")} == {
        f"{landscape}_{pairing}"
        for landscape in ("flowers", "sphere")
        for pairing in ("paired", "unpaired")
    }
    flowers, sphere = datasets["flowers_unpaired"], datasets["sphere_paired"]
    assert (flowers["potential"], flowers["pairing"]) == ("flowers", "unpaired")
    assert (flowers["n_train"], flowers["tau"], sphere["tau"]) == (50, 0.1, 0.5)
    # What nothing mentions comes from the schema.
    assert flowers["steps"] == 5 and flowers["n_test"] is None and flowers["interaction"] is None


@pytest.mark.parametrize(("given", "meant"), [(3, [0, 1, 2]), ([11, 4], [11, 4])])
def test_seeds_are_a_number_or_a_list(given, meant):
    def change(config):
        config["datasets"]["cells"]["seeds"] = config["synthetic"]["seeds"] = given

    config = completed(change)
    for name in ("cells", "flowers_unpaired", "grid_flowers_d3"):
        assert config["datasets"][name]["seeds"] == meant
    # A configuration that is complete stays as it is.
    again = copy.deepcopy(config)
    settings.complete(again, SCHEMAS)
    assert again == config


def test_a_grid_has_a_dataset_for_every_combination_and_an_experiment_has_them_all():
    config = completed(put("experiments/first/grids", ["sizes"]))
    names = [f"grid_{name}_d{d}" for name in ("flowers", "sphere") for d in (3, 5)]
    assert list(settings.datasets_of_grid(config, "sizes")) == names
    assert settings.datasets_of(config, "first")[-4:] == names
    one = config["datasets"]["grid_sphere_d5"]
    assert (one["potential"], one["dimension"], one["tau"], one["n_train"]) == (
        "sphere",
        5,
        0.2,
        50,
    )
    assert one["kind"] == "synthetic" and one["steps"] == 5 and one["pairing"] == "paired"


def graded(config):
    """A Latin square of 3 x 3 x 3 with a number in the id, and combinations that are left out."""
    config["grids"]["square"] = {
        "id": "{potential}_{interaction}_{beta}",
        "vary": {
            "potential": ["flowers", "sphere", "relu"],
            "interaction": ["flat", "beale", "friedman"],
            "beta": [0.0, 0.1, 0.25],
        },
        "one_in": 3,
        "excluded": [
            {
                "where": {"interaction": ["beale"], "potential": ["sphere", "relu"]},
                "reason": "runs",
            },
            {"where": {"beta": [0.25]}, "reason": "noisy"},
        ],
    }


def test_one_in_three_of_a_grid_is_a_latin_square():
    config = completed(graded)
    del config["grids"]["square"]["excluded"]
    kept = settings.datasets_of_grid(config, "square").values()
    assert len(kept) == 9
    for first, second in itertools.combinations(("potential", "interaction", "beta"), 2):
        assert len({(entry[first], entry[second]) for entry in kept}) == 9


def test_excluded_combinations_of_a_grid_have_no_dataset_but_a_reason():
    config = completed(graded)
    excluded = settings.excluded_of_grid(config, "square")
    reasons = {name: entry["reason"] for name, entry in excluded.items()}
    assert reasons == {
        "flowers_beale_0_25": "noisy",
        "sphere_flat_0_25": "noisy",
        "sphere_beale_0_1": "runs",
        "relu_beale_0_0": "runs",
        "relu_friedman_0_25": "noisy",
    }
    made = settings.datasets_of_grid(config, "square")
    assert list(made) == [
        "flowers_flat_0_0", "flowers_friedman_0_1", "sphere_friedman_0_0", "relu_flat_0_1"
    ]  # fmt: skip
    assert not set(excluded) & set(config["datasets"]) and set(made) <= set(config["datasets"])
    assert made["flowers_friedman_0_1"]["beta"] == 0.1
    assert {entry["seeds"] for entry in excluded.values()} == {3}
    # Without the option, nothing is excluded.
    assert settings.excluded_of_grid(config, "sizes") == {}


def test_a_search_has_a_method_for_every_combination_of_its_candidates():
    config = completed()
    names = ["mine__learning_rate_0_1__hidden_8_8", "mine__learning_rate_0_001__hidden_8_8"]
    assert list(settings.candidates_of(config, "rates")) == names
    rates = [config["methods"][name]["learning_rate"] for name in names]
    assert rates == [0.1, 0.001]
    first = settings.method_settings(config, names[0], "raw")
    assert first["hidden"] == [8, 8] and first["epochs"] == 1000
    assert config["methods"]["mine"]["learning_rate"] == 0.001


def test_defaults_are_filled_in_for_every_group():
    config = completed()
    assert config["datasets"]["own"]["rep_key"] == "X_pca"
    assert config["datasets"]["cells"]["train_fraction"] == 0.6
    assert config["methods"]["mine"]["hidden"] == [64, 64]
    assert config["densities"]["gmm"]["components"] == 10


def test_two_entries_do_not_share_a_default():
    config = completed(lambda config: config["methods"].update(other={"kind": "jkonet_star"}))
    config["methods"]["other"]["hidden"].append(1)
    assert config["methods"]["mine"]["hidden"] == [64, 64]
    assert completed()["methods"]["mine"]["hidden"] == [64, 64]


def test_settings_on_a_dataset_are_those_of_the_method_with_its_overrides():
    config = completed()
    mine, other = (settings.method_settings(config, "mine", name) for name in ("own", "cells"))
    assert (mine["epochs"], other["epochs"]) == (7, 1000)
    assert "overrides" not in mine and mine["kind"] == "jkonet_star"
    assert config["methods"]["mine"]["epochs"] == 1000


def test_an_override_may_name_many_datasets_or_none_by_a_pattern():
    patterns = {
        "grid_*_d5": {"epochs": 2, "batch": 9},
        "grid_sphere_*": {"epochs": 3},
        "none_*": {"epochs": 4},
    }
    config = completed(put("methods/mine/overrides", patterns))
    names = ["grid_flowers_d3", "grid_flowers_d5", "grid_sphere_d3", "grid_sphere_d5"]
    found = [settings.method_settings(config, "mine", name) for name in names]
    assert [entry["epochs"] for entry in found] == [1000, 2, 3, 3]
    assert [entry["batch"] for entry in found] == [250, 9, 250, 9]


def test_datasets_of_an_experiment_stand_in_order_without_repetition():
    def change(config):
        config["experiments"]["first"]["datasets"] = [
            "cells",
            "{landscape}_paired",
            "flowers_paired",
        ]

    expected = ["cells", "flowers_paired", "sphere_paired"]
    assert settings.datasets_of(completed(change), "first") == expected


def put(path: str, value):
    """A change of one value; the last part of the path may be new."""

    def change(config):
        *parents, key = path.split("/")
        for parent in parents:
            config = config[parent]
        config[key] = value

    return change


def without(path: str):
    def change(config):
        *parents, key = path.split("/")
        for parent in parents:
            config = config[parent]
        del config[key]

    return change


METHOD_KEYS = "batch, checkpoints, clip, coupling, "
# What is wrong -> the change, and the sentence that it must lead to.
MALFORMED = {
    "unknown top-level key": (
        put("dataset", {}),
        "config: unknown key 'dataset'; allowed: couplings, datasets, densities, experiments, "
        "grids, landscapes, methods, run, searches, synthetic",
    ),
    "missing group": (without("couplings"), "config: 'couplings' is a required property"),
    "landscapes as text": (
        put("landscapes", "flowers"),
        "config landscapes: 'flowers' is not of type 'array'",
    ),
    "landscape twice": (
        put("landscapes", ["sphere"] * 2),
        "config landscapes: ['sphere', 'sphere'] has non-unique",
    ),
    "unknown key of an experiment": (
        put("experiments/first/method", ["mine"]),
        "config experiments/first: unknown key 'method'; allowed: datasets, grids, methods, outputs",
    ),
    "experiment without methods": (
        without("experiments/first/methods"),
        "config experiments/first: 'methods' is a required property",
    ),
    "unknown method in an experiment": (
        put("experiments/first/methods", ["mine", "yours"]),
        "config experiments/first/methods names 'yours'; methods: line, mine",
    ),
    "unknown dataset in an experiment": (
        put("experiments/first/datasets", ["{landscape}_pared"]),
        "config experiments/first/datasets names 'flowers_pared'; datasets: cells, ",
    ),
    "output that is no table or figure": (
        put("experiments/first/outputs", ["plots/first"]),
        "config experiments/first/outputs/0: 'plots/first' does not match '^(tables|figures)/",
    ),
    "entry that is no mapping": (
        put("datasets/own", None),
        "config datasets/own: None is not of type 'object'",
    ),
    "name that no path can hold": (
        put("datasets/own cells", {"kind": "embryoid"}),
        "config datasets: 'own cells' does not match '^[A-Za-z0-9_]+$'",
    ),
    "coupling name that no path can hold": (
        put("couplings/a+b", {"kind": "exact"}),
        "config couplings: 'a+b' does not match '^[A-Za-z0-9_]+$'",
    ),
    "unknown kind of dataset": (
        put("datasets/own/kind", "csv"),
        "config datasets/own: kind is 'csv'; it must be one of counts, embryoid, h5ad, synthetic",
    ),
    "dataset without kind": (
        without("datasets/own/kind"),
        "config datasets/own: kind is None; it must be one of counts, embryoid, h5ad, synthetic",
    ),
    "unknown key of a dataset": (
        put("datasets/cells/seed", 3),
        "config datasets/cells: unknown key 'seed'; allowed: held_out, kind, ",
    ),
    "missing key of a dataset": (
        without("datasets/own/time_key"),
        "config datasets/own: 'time_key' is a required property",
    ),
    "fraction out of bounds": (
        put("datasets/cells/train_fraction", 1.0),
        "config datasets/cells/train_fraction: 1.0 is greater than or equal to the maximum",
    ),
    "no dimension": (
        put("datasets/cells/n_dims", 0),
        "config datasets/cells/n_dims: 0 is less than the minimum of 1",
    ),
    "counts without path or url": (
        without("datasets/raw/path"),
        "config datasets/raw: raw counts need a path or a url",
    ),
    "time that is no number": (
        put("datasets/raw/times/b", "day 1"),
        "config datasets/raw/times/b: 'day 1' is not of type 'number'",
    ),
    "one time only": (
        put("datasets/raw/times", {"a": 0}),
        "config datasets/raw/times: {'a': 0} does not have enough properties",
    ),
    "digest that is none": (
        put("datasets/raw/sha256", "ABC"),
        "config datasets/raw/sha256: 'ABC' does not match '^[0-9a-f]{64}$'",
    ),
    "unknown shared key": (
        put("synthetic/tua", 0.1),
        "config synthetic: unknown key 'tua'; allowed: beta, dimension, initial, ",
    ),
    "number as text": (
        put("synthetic/tau", "0.1"),
        "config synthetic/tau: '0.1' is not of type 'number'",
    ),
    "no time step": (
        put("synthetic/tau", 0),
        "config synthetic/tau: 0 is less than or equal to the minimum of 0 (time between",
    ),
    "negative diffusivity": (
        put("synthetic/beta", -0.1),
        "config synthetic/beta: -0.1 is less than the minimum of 0 (diffusivity",
    ),
    "unknown pairing": (
        put("datasets/sphere_paired/pairing", "both"),
        "config datasets/sphere_paired/pairing: 'both' is not one of ['paired', 'unpaired']",
    ),
    "unknown initial law": (
        put("synthetic/initial", {"law": "cauchy"}),
        "config synthetic/initial/law: 'cauchy' is not one of ['uniform', 'normal']",
    ),
    "unknown kind of method": (
        put("methods/mine/kind", "gan"),
        "config methods/mine: kind is 'gan'; it must be one of ijkonet, jkonet, jkonet_star, jkonet_star_linear",
    ),
    "unknown key of a method": (
        put("methods/mine/epoch", 5),
        f"config methods/mine: unknown key 'epoch'; allowed: {METHOD_KEYS}",
    ),
    "key of another method": (
        put("methods/line/epochs", 5),
        "config methods/line: unknown key 'epochs'; allowed: bump_widths, centers, ",
    ),
    "truth for a count": (
        put("methods/mine/epochs", True),
        "config methods/mine/epochs: True is not of type 'integer' (passes over",
    ),
    "count with a point": (
        put("methods/mine/epochs", 20.0),
        "config methods/mine/epochs: 20.0 is not of type 'integer' (passes over",
    ),
    "unknown scheme": (
        put("methods/mine/scheme", "both"),
        "config methods/mine/scheme: 'both' is not one of ['implicit', 'explicit', ",
    ),
    "layer without units": (
        put("methods/mine/hidden", [64, 0]),
        "config methods/mine/hidden/1: 0 is less than the minimum of 1",
    ),
    "no candidates": (
        put("methods/line/ridges", []),
        "config methods/line/ridges: [] should be non-empty",
    ),
    "one centre": (
        put("methods/line/centers", 1),
        "config methods/line/centers: 1 is less than the minimum of 2",
    ),
    "reserved dataset name": (
        put("datasets/figures", {"kind": "embryoid"}),
        "config datasets: the name 'figures' is reserved",
    ),
    "reserved method name": (
        put("methods/reference", {"kind": "jkonet_star"}),
        "config methods: the name 'reference' is reserved",
    ),
    "unknown coupling": (
        put("methods/mine/coupling", "greedy"),
        "config methods/mine/coupling is 'greedy'; couplings: exact",
    ),
    "unknown dataset in overrides": (
        put("methods/mine/overrides", {"cell": {"epochs": 5}}),
        "config methods/mine/overrides names the dataset 'cell'; datasets: cells, flowers_paired, ",
    ),
    "unknown key in overrides": (
        put("methods/mine/overrides/own/epoch", 5),
        f"config methods/mine/overrides/own: unknown key 'epoch'; allowed: {METHOD_KEYS}",
    ),
    "value out of bounds in overrides": (
        put("methods/mine/overrides/own/epochs", 0),
        "config methods/mine/overrides/own/epochs: 0 is less than the minimum of 1",
    ),
    "unknown coupling in overrides": (
        put("methods/mine/overrides/own/coupling", "greedy"),
        "config methods/mine/overrides/own/coupling is 'greedy'; couplings: exact",
    ),
    "a start that starts itself": (
        put("methods/mine", {"kind": "ijkonet", "start": "mine"}),
        "config methods/mine/start is 'mine'; methods without a start: ",
    ),
    "another kind in overrides": (
        put("methods/mine/overrides/own/kind", "jkonet_star_linear"),
        "config methods/mine/overrides/own: kind cannot be overridden; make another",
    ),
    "unknown kind of coupling": (
        put("couplings/exact/kind", "emd"),
        "config couplings/exact: kind is 'emd'; it must be one of exact, minibatch, sinkhorn",
    ),
    "no regularisation": (
        put("couplings/soft", {"kind": "sinkhorn", "epsilon": 0}),
        "config couplings/soft/epsilon: 0 is less than or equal to the minimum of 0",
    ),
    "unknown key of a coupling": (
        put("couplings/exact/epsilon", 0.1),
        "config couplings/exact: unknown key 'epsilon'; allowed: kind",
    ),
    "no seeds": (
        put("datasets/cells/seeds", 0),
        "config datasets/cells/seeds: a number of seeds (0 .. seeds - 1), or a list of seeds below",
    ),
    "a seed that no generator takes": (
        put("datasets/cells/seeds", [1, 2**32]),
        "config datasets/cells/seeds: a number of seeds (0 .. seeds - 1), or a list of seeds below",
    ),
    "unknown experiment to run": (
        put("run", ["first", "second"]),
        "config run names 'second'; experiments: first",
    ),
    "unknown grid in an experiment": (
        put("experiments/first/grids", ["size"]),
        "config experiments/first/grids names 'size'; grids: sizes",
    ),
    "id that names what does not vary": (
        put("grids/sizes/id", "{potential}_{beta}"),
        "config grids/sizes/id is '{potential}_{beta}'; it must be a pattern with {potential} and {dim",
    ),
    "id that is not unique": (
        put("grids/sizes/id", "{potential}_"),
        "config grids/sizes/id gives 'flowers_' twice; it must name all that varies: dimension, ",
    ),
    "no part of a grid": (
        put("grids/sizes/one_in", 0),
        "config grids/sizes/one_in: 0 is less than the minimum of 1",
    ),
    "excluded by what does not vary": (
        put("grids/sizes/excluded", [{"where": {"beta": [0.1]}, "reason": "why"}]),
        "config grids/sizes/excluded/where names 'beta'; where: dimension, potential",
    ),
    "excluded without a reason": (
        put("grids/sizes/excluded", [{"where": {"dimension": [3]}}]),
        "config grids/sizes/excluded/0: 'reason' is a required property",
    ),
    "id of another grid": (
        put("grids/other", {"id": "grid_{potential}_d3", "vary": {"potential": ["flowers"]}}),
        "config grids/other gives 'grid_flowers_d3', which is another dataset of another grid",
    ),
    "id that is no pattern": (
        put("grids/sizes/id", "{potential"),
        "config grids/sizes/id is '{potential'; it must be a pattern with {potential} and {dimension}",
    ),
    "id that no path can hold": (
        put("grids/sizes/id", "a-{potential}_{dimension}"),
        "config datasets: 'a-flowers_3' does not match '^[A-Za-z0-9_]+$'",
    ),
    "id of another dataset": (
        put(
            "grids/other",
            {
                "id": "{potential}_paired",
                "vary": {"potential": ["flowers"], "pairing": ["unpaired"]},
            },
        ),
        "config grids: 'flowers_paired' is a dataset already, with another pairing; give the grid",
    ),
    "search on what is reported": (
        put("searches/rates/datasets", ["own"]),
        "config searches/rates/datasets names 'own', which an experiment reports; settings are",
    ),
    "search on test rows": (
        put("datasets/raw/validation_fraction", None),
        "config searches/rates/datasets names 'raw', which has no validation_fraction; without",
    ),
    "candidates of one name": (
        put("searches/rates/candidates", {"learning_rate": [0.1, "0_1"]}),
        "config searches/rates/candidates gives the name 'mine__learning_rate_0_1' twice; values",
    ),
    "unknown setting of a grid": (
        put("grids/sizes/settings", {"pairs": 3}),
        "config datasets/grid_flowers_d3: unknown key 'pairs'; allowed: beta, dimension, ",
    ),
    "unknown dataset in a search": (
        put("searches/rates/datasets", ["cell"]),
        "config searches/rates/datasets names 'cell'; datasets: cells, ",
    ),
    "unknown method in a search": (
        put("searches/rates/methods", ["my"]),
        "config searches/rates/methods names 'my'; methods: line, mine",
    ),
    "unknown setting in a search": (
        put("searches/rates/candidates", {"rate": [0.1]}),
        f"config methods/mine__rate_0_1: unknown key 'rate'; allowed: {METHOD_KEYS}",
    ),
    "unknown kind of density": (
        put("densities/gmm/kind", "histogram"),
        "config densities/gmm: kind is 'histogram'; it must be one of gmm, kde",
    ),
    "half a component": (
        put("densities/gmm/components", 2.5),
        "config densities/gmm/components: 2.5 is not of type 'integer'",
    ),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_configuration_is_one_sentence(case):
    change, sentence = MALFORMED[case]
    with pytest.raises(SettingsError) as caught:
        completed(change)
    assert str(caught.value).startswith(sentence)
    assert "\n" not in str(caught.value)
