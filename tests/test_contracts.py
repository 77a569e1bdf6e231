"""What holds for every entry of a registry, every file of the package and every configuration."""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import settings
import yaml
from snakemake.utils import update_config

from jko import methods
from jko.kernels import KERNELS
from jko.potentials import PAPER_LANDSCAPES, POTENTIALS
from jko.solvers import STEPS

ROOT = Path(__file__).parents[1]
SCRIPTS, SCHEMAS = ROOT / "workflow" / "scripts", ROOT / "workflow" / "schemas"
PACKAGE = SCRIPTS / "jko"
# Imports go down only: a module imports those before it. No single method or flow is listed.
ORDER = (
    "files",
    "columns",
    "download",
    "manifest",
    "tables",
    "readable",
    "plotting",
    "io_h5ad",
    "counts",
    "embryoid",
    "snapshots",
    "potentials",
    "kernels",
    "energies",
    "networks",
    "features",
    "quadratics",
    "evidence",
    "slopes",
    "heat",
    "shrinkage",
    "pulls",
    "weak",
    "model_error",
    "products",
    "trials",
    "gauss_newton",
    "outliers",
    "densities",
    "couplings",
    "curves",
    "descent",
    "solvers",
    "simulation",
    "pairs",
    "neural",
    "halves",
    "metrics",
    "uncertainty",
    "weak_energy",
    "linear_energy",
    "batches",
    "divergences",
    "prediction",
    "readings",
    "evaluation",
    "held_out",
    "training",
    "distillation",
    "jko_maps",
    "methods",
    "inner_gradients",
    "flows",
)
ONLY_IMPORTERS = {
    "matplotlib": {"plotting"},
    "anndata": {"io_h5ad"},
    "scanpy": {"counts"},
    "snakemake": set(),
    "yaml": set(),
    "jsonschema": set(),
}
CONFIGS = {"default": (), "smoke": ("smoke",), "paper": ("paper",)}


def name_of(path: Path) -> str:
    """`densities`, `methods` for a package itself, `methods.jkonet_star` for a module of it."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py")) if name_of(path)}
every_module = pytest.mark.parametrize("name", MODULES)


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path: Path) -> Iterator[str]:
    """Dotted names that a file imports; `from a import b` gives a.b."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: relative imports escape the digest of the code"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def config_of(*more: str) -> dict:
    """The configuration as Snakemake merges it: mappings are merged, lists replaced."""
    config = {}
    for name in ("config", "datasets", "methods", "searches", *more):
        path = ROOT / "config" / f"{name}.yaml"
        update_config(config, yaml.safe_load(path.read_text(encoding="utf-8")))
    return config


def schemas_of(group: str) -> dict[str, Path]:
    paths = SCHEMAS.glob(f"{group}_*.schema.yaml")
    return {
        path.name.removeprefix(f"{group}_").removesuffix(".schema.yaml"): path for path in paths
    }


@pytest.mark.parametrize("registry", [POTENTIALS, KERNELS], ids=["potentials", "kernels"])
def test_everything_registered_is_finite_with_a_finite_gradient(registry):
    points = np.random.default_rng(0).uniform(-4, 4, (100, 4)).astype(np.float32)
    points[0] = 0
    functions = [jax.value_and_grad(function) for function in registry.values()]
    # One program for all is compiled faster than one for each.
    found = jax.jit(lambda x: [jax.vmap(function)(x) for function in functions])(points)
    for name, (value, gradient) in zip(registry, found, strict=True):
        assert value.shape == (100,) and gradient.shape == (100, 4), name
        assert np.isfinite(value).all() and np.isfinite(gradient).all(), name


@pytest.mark.parametrize("more", CONFIGS.values(), ids=CONFIGS)
def test_every_configuration_completes_and_names_what_is_registered(more):
    config = config_of(*more)
    settings.complete(config, SCHEMAS)
    assert config["experiments"] and config["landscapes"]
    for entry in config["datasets"].values():
        if entry["kind"] == "synthetic":
            assert entry["potential"] in POTENTIALS
            assert entry["interaction"] is None or entry["interaction"] in KERNELS
    for entry in config["methods"].values():
        assert entry["kind"] in methods.kinds()


def test_the_default_configuration_has_every_landscape_of_the_papers_and_every_method():
    config = config_of()
    assert set(config["landscapes"]) == set(PAPER_LANDSCAPES)
    assert {entry["kind"] for entry in config["methods"].values()} == set(methods.kinds())


def test_the_readme_has_every_table_and_figure_of_the_experiments():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    experiments = config_of()["experiments"].values()
    outputs = {output for entry in experiments for output in entry.get("outputs", [])}
    assert len(outputs) > 40
    lacking = [output for output in sorted(outputs) if f"`{output}." not in readme]
    assert lacking == []


@pytest.mark.parametrize("kind", methods.kinds())
def test_every_method_has_its_two_functions_and_a_schema(kind):
    module = methods.module(kind)
    assert list(inspect.signature(module.fit).parameters) == ["problem", "settings", "report"]
    assert list(inspect.signature(module.energy).parameters) == ["params", "settings"]
    schema = yaml.safe_load(schemas_of("method")[kind].read_text(encoding="utf-8"))
    assert schema["properties"]["kind"] == {"const": kind}
    assert set(schema["properties"]["scheme"]["enum"]) <= set(STEPS)


def test_every_schema_of_a_method_has_a_module():
    assert set(schemas_of("method")) == set(methods.kinds())


def properties(schema: dict, place: str) -> Iterator[tuple[str, str, dict, bool]]:
    """Place, key, description and whether it is required, of all properties at any depth."""
    for key, entry in schema.get("properties", {}).items():
        yield place, key, entry, key in schema.get("required", [])
        yield from properties(entry, f"{place}/{key}")
    for part in ("items", "additionalProperties"):
        if isinstance(schema.get(part), dict):
            yield from properties(schema[part], f"{place}/{part}")


@pytest.mark.parametrize(
    "path", sorted(SCHEMAS.glob("*.yaml")), ids=lambda path: path.name.split(".")[0]
)
def test_every_key_is_described_and_optional_ones_have_a_valid_default(path):
    schema = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert schema["type"] == "object" and schema["additionalProperties"] is False
    for place, key, entry, required in properties(schema, path.name):
        described = entry.get("description") or (key in ("kind", "law") and required)
        assert described, f"{place}/{key} has no description"
        if "default" in entry:
            assert not required, f"{place}/{key} is required and has a default"
            settings._Validator(entry).validate(entry["default"])
    optional = set(schema["properties"]) - set(schema.get("required", []))
    # A counts dataset has a path or a url; the kind stands in the file's name.
    without = {key for key in optional if "default" not in schema["properties"][key]}
    assert without <= {"kind", "path", "url"}


def rank(name: str) -> int:
    """Place in the order; methods and flows share that of their package, which comes first."""
    top = name.split(".")[0]
    assert top in ORDER, f"jko.{top} is new: give it its place in ORDER of {Path(__file__).name}"
    return ORDER.index(top)


@every_module
def test_imports_within_the_package_go_down_only(name):
    for imported in imports(MODULES[name]):
        parts = imported.split(".")
        if parts[0] != "jko":
            continue
        # `from jko.files import write_text` is an import of jko.files.
        module = max(
            (".".join(parts[1:end]) for end in range(2, len(parts) + 1)),
            key=lambda candidate: (candidate in MODULES, len(candidate)),
        )
        assert module in MODULES, f"jko.{name} imports {imported}, which does not exist"
        same_package = name.startswith(f"{module}.") or name.split(".")[0] == module.split(".")[0]
        assert same_package or rank(module) < rank(
            name
        ), f"jko.{name} imports {imported}, which lies above"


def test_every_use_of_a_seed_has_a_number_of_its_own():
    found = {}
    for name, path in MODULES.items():
        for value in re.findall(r"^_STREAM = (\d+)$", path.read_text(encoding="utf-8"), re.M):
            assert found.setdefault(value, name) == name, f"_STREAM {value} of {name}"
    assert len(found) > 5


@every_module
def test_some_packages_have_one_importer(name):
    found = {imported.split(".")[0] for imported in imports(MODULES[name])}
    for package, importers in ONLY_IMPORTERS.items():
        assert (
            package not in found or name.split(".")[0] in importers
        ), f"jko.{name} imports {package}"
    assert "os.environ" not in MODULES[name].read_text(encoding="utf-8")


@every_module
def test_everything_public_has_a_docstring(name):
    tree = tree_of(MODULES[name])
    assert ast.get_docstring(tree), f"jko.{name}"
    found = [("", node) for node in tree.body]
    while found:
        prefix, node = found.pop()
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"jko.{name}.{prefix}{node.name} has no docstring"
            if isinstance(node, ast.ClassDef):
                found += [(f"{node.name}.", child) for child in node.body]


@every_module
def test_files_and_functions_can_be_read_in_a_sitting(name):
    text = MODULES[name].read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 90, node.name


@pytest.mark.parametrize("path", sorted(SCRIPTS.glob("*.py")), ids=lambda path: path.stem)
def test_a_script_is_an_adapter(path):
    """It imports the package, the standard library, arrays and tables, and does no mathematics."""
    allowed = {"jko", "numpy", "pandas", "jax", *sys.stdlib_module_names}
    found = {imported.split(".")[0] for imported in imports(path)}
    assert found <= allowed, f"{path.name} imports {sorted(found - allowed)}"
    assert ast.get_docstring(tree_of(path))
    written = {node.func.attr for node in ast.walk(tree_of(path)) if isinstance(node, ast.Call)
               and isinstance(node.func, ast.Attribute)}  # fmt: skip
    mathematics = {
        "grad",
        "value_and_grad",
        "hessian",
        "jacfwd",
        "jacrev",
        "scan",
        "einsum",
        "lstsq",
        "eigh",
    }
    assert not written & mathematics
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 100


def test_every_script_is_run_by_a_rule():
    rules = "".join(
        path.read_text(encoding="utf-8") for path in (ROOT / "workflow/rules").glob("*.smk")
    )
    for path in SCRIPTS.glob("*.py"):
        assert f'"../scripts/{path.name}"' in rules, path.name


def test_test_modules_mirror_what_they_test():
    of_package = {name for name in MODULES if "." not in name}
    of_rules = {path.stem for path in (ROOT / "workflow" / "rules").glob("*.py")}
    # These test no single module: all registries, the workflow as a whole, its environment.
    of_whole = {"contracts", "workflow", "environment"}
    found = {path.stem.removeprefix("test_") for path in Path(__file__).parent.glob("test_*.py")}
    single = {name.split(".")[1] for name in MODULES if "." in name}
    assert of_package | of_rules <= found, "without tests"
    assert found <= of_package | of_rules | of_whole | single, "tests of nothing"
