"""The configuration, checked and completed: unknown keys are errors, defaults come from the schemas."""

from __future__ import annotations

import copy
import functools
import itertools
import re
from collections.abc import Iterable, Mapping, MutableMapping
from fnmatch import fnmatchcase
from pathlib import Path

import yaml
from jsonschema import Draft202012Validator, validators

PAIRINGS = ("paired", "unpaired")
# Each group of entries, and the schema of one entry.
GROUPS = {
    "datasets": "dataset",
    "methods": "method",
    "couplings": "coupling",
    "densities": "density",
}

# JSON takes 20.0 for an integer; Python's range does not.
_Validator = validators.extend(
    Draft202012Validator,
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine(
        "integer", lambda checker, value: isinstance(value, int) and not isinstance(value, bool)
    ),
)


class SettingsError(ValueError):
    """A configuration that cannot be run; the message says what, where and what is allowed."""


def complete(config: MutableMapping, schemas: Path) -> None:
    """Check the whole configuration and fill in datasets of landscapes and all defaults, in place.

    Raises:
        SettingsError: an unknown or missing key, a value out of bounds, or a name that nothing defines.
    """
    _check(config, schemas / "config.schema.yaml", "")
    for name, experiment in config["experiments"].items():
        _check_known(experiment.get("grids", []), config["grids"], f"experiments/{name}/grids")
    # Checked by itself, so that an error names the place where it stands.
    some_dataset = {**config["synthetic"], "kind": "synthetic", "potential": ""}
    _check(some_dataset, schemas / "dataset_synthetic.schema.yaml", "synthetic")
    # Combinations without a dataset are never completed, and have seeds all the same.
    config["synthetic"].setdefault("seeds", some_dataset["seeds"])
    for landscape in config["landscapes"]:
        for pairing in PAIRINGS:
            shared = {"kind": "synthetic", "potential": landscape, "pairing": pairing}
            own = config["datasets"].get(f"{landscape}_{pairing}", {})
            config["datasets"][f"{landscape}_{pairing}"] = {**config["synthetic"], **shared, **own}
    for name, entry in _datasets_of_grids(config).items():
        own = config["datasets"].get(name, {})
        differ = [key for key in entry if key != "seeds" and own.get(key, entry[key]) != entry[key]]
        if differ:
            raise SettingsError(
                f"config grids: {name!r} is a dataset already, with another {differ[0]}; give the grid "
                "another id"
            )
        config["datasets"][name] = {**entry, **own}
    # Once more, with the names that landscapes and grids made.
    _check(config, schemas / "config.schema.yaml", "")
    _check_selected(config)
    for name in config["searches"]:
        config["methods"] |= candidates_of(config, name)
    for group, schema in GROUPS.items():
        for name, entry in config[group].items():
            place = f"{group}/{name}"
            _check(entry, _schema_of(entry, schema, schemas, place), place)
    for entry in config["datasets"].values():
        if isinstance(entry["seeds"], int):
            entry["seeds"] = list(range(entry["seeds"]))
    for name, method in config["methods"].items():
        _check_names(config, method, f"methods/{name}")
        for dataset, changes in method.get("overrides", {}).items():
            # A pattern may match none, where a configuration takes a part of a grid.
            if "*" not in dataset and dataset not in config["datasets"]:
                raise SettingsError(
                    f"config methods/{name}/overrides names the dataset {dataset!r}; datasets: "
                    f"{_names(config['datasets'])}"
                )
            place = f"methods/{name}/overrides/{dataset}"
            for key in ("kind", "scheme", "overrides"):
                if key in changes:
                    raise SettingsError(
                        f"config {place}: {key} cannot be overridden; make another entry under methods"
                    )
            settings = {k: v for k, v in method.items() if k != "overrides"} | changes
            _check(settings, _schema_of(settings, "method", schemas, place), place)
            _check_names(config, settings, place)


def _check_selected(config: Mapping) -> None:
    """What experiments, searches and the list of experiments to run name must exist."""
    for name, experiment in config["experiments"].items():
        place = f"experiments/{name}"
        _check_known(datasets_of(config, name), config["datasets"], f"{place}/datasets")
        _check_known(experiment["methods"], config["methods"], f"{place}/methods")
    if unknown := set(config["run"]) - set(config["experiments"]):
        raise SettingsError(
            f"config run names {min(unknown)!r}; experiments: {_names(config['experiments'])}"
        )
    reported = {dataset for name in config["experiments"] for dataset in datasets_of(config, name)}
    for name, search in config["searches"].items():
        _check_known(search["datasets"], config["datasets"], f"searches/{name}/datasets")
        for dataset in search["datasets"]:
            observed = config["datasets"][dataset].get("kind") != "synthetic"
            if dataset in reported:
                raise SettingsError(
                    f"config searches/{name}/datasets names {dataset!r}, which an experiment reports; "
                    "settings are chosen on other landscapes, other seeds or validation rows"
                )
            if observed and not config["datasets"][dataset].get("validation_fraction"):
                raise SettingsError(
                    f"config searches/{name}/datasets names {dataset!r}, which has no "
                    "validation_fraction; without it settings would be chosen on the test rows"
                )


def _check_known(names: Iterable[str], allowed: Iterable[str], place: str) -> None:
    """Names in a list of the configuration must be those of entries."""
    unknown = [name for name in names if name not in allowed]
    if unknown:
        kind = place.rpartition("/")[2]
        raise SettingsError(f"config {place} names {unknown[0]!r}; {kind}: {_names(allowed)}")


def _check_names(config: Mapping, method: Mapping, place: str) -> None:
    """The coupling, the density and the start that a method names must exist."""
    for group, key in (("couplings", "coupling"), ("densities", "density")):
        if method.get(key) is not None and method[key] not in config[group]:
            raise SettingsError(
                f"config {place}/{key} is {method[key]!r}; {group}: {_names(config[group])}"
            )
    # One that starts itself could be the start of its own start.
    starts = [name for name, entry in config["methods"].items() if not entry.get("start")]
    if method.get("start") is not None and method["start"] not in starts:
        raise SettingsError(
            f"config {place}/start is {method['start']!r}; methods without a start: {_names(starts)}"
        )


def datasets_of(config: Mapping, experiment: str) -> list[str]:
    """Datasets of an experiment, with {landscape} written out, in order and without repetition."""
    found: dict[str, None] = {}
    for pattern in config["experiments"][experiment].get("datasets", []):
        if "{landscape}" in pattern:
            names = [pattern.replace("{landscape}", name) for name in config["landscapes"]]
        else:
            names = [pattern]
        found.update(dict.fromkeys(names))
    for grid in config["experiments"][experiment].get("grids", []):
        found.update(dict.fromkeys(datasets_of_grid(config, grid)))
    return list(found)


def datasets_of_grid(config: Mapping, grid: str) -> dict[str, dict]:
    """Simulated datasets of a grid: id -> settings, one for every combination of what varies
    that `one_in` keeps and `excluded` does not name.
    """
    return {
        name: entry
        for name, entry in _combinations(config, grid).items()
        if not _reason_excluded(config, grid, entry)
    }


def excluded_of_grid(config: Mapping, grid: str) -> dict[str, dict]:
    """Combinations of a grid that `excluded` names: id -> settings and the `reason`."""
    return {
        name: {**entry, "reason": reason}
        for name, entry in _combinations(config, grid).items()
        if (reason := _reason_excluded(config, grid, entry))
    }


def _reason_excluded(config: Mapping, grid: str, settings: Mapping) -> str:
    """Why a combination of a grid has no dataset, or ""."""
    for entry in config["grids"][grid].get("excluded", []):
        if all(settings.get(key) in values for key, values in entry["where"].items()):
            return entry["reason"]
    return ""


def _combinations(config: Mapping, grid: str) -> dict[str, dict]:
    """Combinations of a grid that `one_in` keeps: id -> settings."""
    entry, found = config["grids"][grid], {}
    for part in entry.get("excluded", []):
        _check_known(part["where"], entry["vary"], f"grids/{grid}/excluded/where")
    values = [list(enumerate(values)) for values in entry["vary"].values()]
    for chosen in itertools.product(*values):
        if sum(place for place, _ in chosen) % entry.get("one_in", 1):
            continue
        varied = {key: value for key, (_, value) in zip(entry["vary"], chosen, strict=True)}
        # An id is part of a path and holds no point.
        words = {
            key: str(value).replace(".", "_") if isinstance(value, float) else value
            for key, value in varied.items()
        }
        try:
            name = entry["id"].format(**words)
        except (KeyError, IndexError, ValueError, AttributeError) as error:
            raise SettingsError(
                f"config grids/{grid}/id is {entry['id']!r}; it must be a pattern with "
                f"{' and '.join(f'{{{key}}}' for key in varied)}"
            ) from error
        if name in found:
            raise SettingsError(
                f"config grids/{grid}/id gives {name!r} twice; it must name all that varies: "
                f"{_names(varied)}"
            )
        shared = {**config["synthetic"], "kind": "synthetic", "potential": "flat"}
        found[name] = {**shared, **entry.get("settings", {}), **varied}
    return found


def _datasets_of_grids(config: Mapping) -> dict[str, dict]:
    """Datasets of all grids; an id that stands in two of them must mean the same."""
    found = {}
    for grid in config["grids"]:
        for name, entry in datasets_of_grid(config, grid).items():
            if found.setdefault(name, entry) != entry:
                raise SettingsError(
                    f"config grids/{grid} gives {name!r}, which is another dataset of another grid"
                )
    return found


def candidates_of(config: Mapping, search: str) -> dict[str, dict]:
    """Methods that a search compares: name -> settings, one for every combination of its candidates."""
    entry = config["searches"][search]
    _check_known(entry["methods"], config["methods"], f"searches/{search}/methods")
    found = {}
    for method in entry["methods"]:
        base = {
            key: value for key, value in config["methods"][method].items() if key != "overrides"
        }
        for values in itertools.product(*entry["candidates"].values()):
            changes = dict(zip(entry["candidates"], values, strict=True))
            words = [method, *(f"{key}_{value}" for key, value in changes.items())]
            name = "__".join(re.sub(r"[^A-Za-z0-9]+", "_", word).strip("_") for word in words)
            if name in found:
                raise SettingsError(
                    f"config searches/{search}/candidates gives the name {name!r} twice; values must "
                    "differ in letters or digits"
                )
            found[name] = {**base, **changes}
    return found


def method_settings(config: Mapping, method: str, dataset: str) -> dict:
    """Settings of a method on a dataset: its own, under those of its `overrides` for the dataset.

    The id in an override may hold `*` for any text; of several that match, later ones lie on top.
    """
    settings = {
        key: value for key, value in config["methods"][method].items() if key != "overrides"
    }
    for pattern, changes in config["methods"][method].get("overrides", {}).items():
        if fnmatchcase(dataset, pattern):
            settings |= changes
    return settings


def _schema_of(entry: Mapping, group: str, schemas: Path, place: str) -> Path:
    kinds = sorted(
        path.name.removeprefix(f"{group}_").removesuffix(".schema.yaml")
        for path in schemas.glob(f"{group}_*.schema.yaml")
    )
    kind = entry.get("kind") if isinstance(entry, Mapping) else None
    if kind not in kinds:
        raise SettingsError(
            f"config {place}: kind is {kind!r}; it must be one of {', '.join(kinds)}"
        )
    return schemas / f"{group}_{kind}.schema.yaml"


def _check(entry: MutableMapping, schema_path: Path, place: str) -> None:
    """Validate against a schema and fill in its defaults."""
    schema = _load(schema_path)
    error = next(iter(sorted(_Validator(schema).iter_errors(entry), key=_depth)), None)
    if error is not None:
        raise SettingsError(_sentence(error, place))
    for key, description in schema["properties"].items():
        if "default" in description:
            entry.setdefault(key, copy.deepcopy(description["default"]))


def _sentence(error, place: str) -> str:
    where = f"config {'/'.join([*filter(None, [place]), *map(str, error.absolute_path)])}".rstrip()
    if error.validator == "additionalProperties":
        allowed = error.schema["properties"]
        unknown = sorted(set(error.instance) - set(allowed))
        return f"{where}: unknown key {unknown[0]!r}; allowed: {_names(allowed)}"
    if error.validator == "not":
        return f"{where}: the name {error.instance!r} is reserved"
    hint = error.schema.get("description", "")
    if error.validator == "anyOf" and hint:
        return f"{where}: {hint}"
    return f"{where}: {error.message}" + (f" ({hint})" if hint else "")


def _depth(error) -> tuple[int, str]:
    return -len(error.absolute_path), error.message


@functools.cache
def _load(path: Path) -> dict:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def _names(entries: Iterable[str]) -> str:
    return ", ".join(sorted(entries))
