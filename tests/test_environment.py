"""The pins, the environment script, the profiles and the CI script agree with each other."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from checkouts import copy_workflow
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from snakemake.cli import get_argument_parser

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ("requirements.lock", "requirements-slurm.lock")
PROFILES = sorted(path.parent.name for path in ROOT.glob("profiles/*/config.yaml"))
SHELLS = [name for name in ("sh", "dash", "bash", "zsh") if shutil.which(name)]
ENVIRONMENTS = [
    {"python_version": python[:4], "python_full_version": python, "sys_platform": platform}
    for python in ("3.11.7", "3.12.1", "3.13.0", "3.14.0")
    for platform in ("linux", "darwin")
]
# Options of the pinned executor plugin that the profile may use; the plugin is an extra.
SLURM_PLUGIN = "2.8.0"
SLURM_OPTIONS = {
    "--slurm-no-account",
    "--slurm-status-command",
    "--slurm-init-seconds-before-status-checks",
    "--slurm-partition-config",
    "--slurm-logdir",
    "--slurm-qos",
    "--slurm-reservation",
    "--slurm-requeue",
    "--slurm-keep-successful-logs",
    "--slurm-array-jobs",
}


def entries(name: str) -> list[str]:
    """The requirements of a lock, each with its continuation lines joined, hashes and all."""
    text = (ROOT / name).read_text(encoding="utf-8").replace("\\\n", " ")
    return [line for line in text.splitlines() if line.strip() and not line.startswith("#")]


def pins(name: str) -> list[tuple[str, str, Marker | None]]:
    """Distribution, version and marker of each requirement of a lock."""
    found = []
    for entry in entries(name):
        requirement = Requirement(entry.split("--hash=")[0])
        (specifier,) = requirement.specifier
        assert specifier.operator == "==", entry
        found.append((canonicalize_name(requirement.name), specifier.version, requirement.marker))
    return found


def resolved(name: str, environment: dict[str, str]) -> dict[str, str]:
    """Distribution -> the one version that a lock gives in an environment."""
    found: dict[str, str] = {}
    for distribution, version, marker in pins(name):
        if marker is None or marker.evaluate(environment):
            assert distribution not in found, f"{name} pins {distribution} twice"
            found[distribution] = version
    return found


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def profile(name: str) -> dict:
    return yaml.safe_load((ROOT / "profiles" / name / "config.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", LOCKS)
def test_every_pin_of_a_lock_has_a_hash_and_no_host(name):
    for entry in entries(name):
        assert re.search(r"--hash=sha256:[0-9a-f]{64}(\s|$)", entry), entry
    text = (ROOT / name).read_text(encoding="utf-8")
    assert not re.findall(r"(?:https?:|--(?:extra-)?index|--find-links|--trusted|@ ).*", text)


@pytest.mark.parametrize("environment", ENVIRONMENTS, ids=lambda e: "-".join(e.values()))
def test_the_lock_satisfies_the_project(environment):
    extras = project()["optional-dependencies"]
    wanted = {
        "requirements.lock": [*project()["dependencies"], *extras["dev"]],
        "requirements-slurm.lock": [*project()["dependencies"], *extras["dev"], *extras["slurm"]],
    }
    for name, requirements in wanted.items():
        versions = resolved(name, environment)
        for requirement in map(Requirement, requirements):
            version = versions[canonicalize_name(requirement.name)]
            assert Version(version) in requirement.specifier, f"{name}: {requirement}"


def test_the_slurm_lock_adds_to_the_lock_and_changes_nothing():
    assert set(entries(LOCKS[0])) < set(entries(LOCKS[1]))
    lock, slurm = ({(n, v, str(m)) for n, v, m in pins(name)} for name in LOCKS)
    assert {name.rpartition("-plugin-")[2] for name, _, _ in slurm - lock} == {
        "slurm",
        "slurm-jobstep",
    }


@pytest.mark.parametrize("path", sorted(ROOT.glob("envs/*.yaml")), ids=lambda path: path.name)
def test_the_pins_of_a_conda_environment_are_those_of_the_lock(path):
    dependencies = yaml.safe_load(path.read_text(encoding="utf-8"))["dependencies"]
    (python,) = (d for d in dependencies if isinstance(d, str) and d.startswith("python="))
    version = python.removeprefix("python=")
    assert Version(version) in Requirement(f"python{project()['requires-python']}").specifier
    versions = resolved("requirements.lock", {"python_version": version, **_full(version)})
    (pip,) = (d["pip"] for d in dependencies if isinstance(d, dict))
    for requirement in map(Requirement, pip):
        assert str(requirement.specifier) == f"=={versions[canonicalize_name(requirement.name)]}"
    direct = {canonicalize_name(Requirement(r).name) for r in project()["dependencies"]}
    assert {canonicalize_name(Requirement(r).name) for r in pip} == direct


def _full(version: str) -> dict[str, str]:
    return {"python_full_version": f"{version}.0", "sys_platform": "linux"}


@pytest.mark.parametrize("name", PROFILES)
def test_profiles_hold_only_options_that_exist(name):
    actions = get_argument_parser()._actions
    known = {option for action in actions for option in action.option_strings}
    for option in map("--{}".format, profile(name)):
        assert option in known | SLURM_OPTIONS, f"profiles/{name}: {option}"
        assert name == "slurm" or option not in SLURM_OPTIONS
    assert ("snakemake-executor-plugin-slurm", SLURM_PLUGIN, None) in pins(LOCKS[1])


def test_the_default_profile_overrules_no_other():
    assert PROFILES == ["default", "gpu", "slurm"]
    for name in PROFILES[1:]:
        assert not set(profile("default")) & set(profile(name))


def rule_scripts() -> dict[str, str]:
    """Rule -> name of its script, for all rules that have one."""
    found = {}
    for path in ROOT.glob("workflow/rules/*.smk"):
        for name, body in re.findall(
            r"^rule (\w+):\n((?:[ \t].*\n|\n)+)", path.read_text(encoding="utf-8"), re.MULTILINE
        ):
            script = re.search(r"script:\s+\"\.\./scripts/(\w+)\.py\"", body)
            if script:
                found[name] = script[1]
    return found


def test_rules_kept_off_the_gpu_do_not_import_jax():
    scripts = rule_scripts()
    off = {rule for rule, wants in profile("gpu")["set-resources"].items() if wants == {"gpu": 0}}
    assert off == set(profile("gpu")["set-resources"])
    assert off <= set(scripts)
    assert _imports_jax(scripts["train"])
    assert not [rule for rule in off if _imports_jax(scripts[rule])]


def _imports_jax(script: str) -> bool:
    folder = ROOT / "workflow/scripts"
    todo, seen = [folder / f"{script}.py"], set()
    while todo:
        path = todo.pop()
        seen.add(path)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                modules = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            if any(module.split(".")[0] in ("jax", "flax", "optax", "ott") for module in modules):
                return True
            places = [folder / module.replace(".", "/") for module in modules]
            paths = {file for at in places for file in (at.with_suffix(".py"), at / "__init__.py")}
            todo += [path for path in paths - seen if path.exists()]
    return False


def dry_run(folder: Path, *arguments: str) -> str:
    """A dry run of the smoke workflow with all rules; the cells are two empty files."""
    cells = folder / "cells"
    cells.mkdir()
    for name in ("data.npy", "sample_labels.npy"):
        (cells / name).touch()
    command = [sys.executable, "-m", "snakemake", "--dry-run", "--forceall", *arguments]
    command += ["--configfile", "config/smoke.yaml", "--", "all"]
    environment = os.environ | {"JKO_EMBRYOID": str(cells)}
    done = subprocess.run(
        command,
        cwd=copy_workflow(folder / "workflow"),
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def resources_of(rule: str, output: str) -> set[str]:
    """The resource lines of a rule's jobs in a dry run."""
    return set(re.findall(rf"^rule {rule}:\n(?: .*\n)*?    resources: (.*)$", output, re.MULTILINE))


def test_the_gpu_profile_lets_one_job_onto_the_gpu(tmp_path):
    output = dry_run(tmp_path, "--profile", "profiles/gpu")
    assert profile("gpu")["resources"] == {"gpu": 1}
    assert resources_of("train", output) and resources_of("table_summary", output)
    assert all("gpu=1" in line for line in resources_of("train", output))
    assert all("gpu=0" in line for line in resources_of("table_summary", output))


def test_the_slurm_profile_gives_every_job_memory_and_time(tmp_path):
    settings = profile("slurm")
    assert settings.pop("executor") == "slurm"
    # The executor itself is an extra; .ci/run dry-runs the whole profile with it.
    settings = {key: value for key, value in settings.items() if f"--{key}" not in SLURM_OPTIONS}
    folder = tmp_path / "slurm"
    folder.mkdir()
    (folder / "config.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    output = dry_run(tmp_path, "--profile", str(folder))
    lines = re.findall(r"^    resources: (.*)$", output, re.MULTILINE)
    assert len(lines) > 20
    for line in lines:
        assert re.search(r"\bmem_mb=\d+", line) and re.search(r"\bruntime=\d+", line), line


@pytest.mark.parametrize("shell", SHELLS)
def test_the_scripts_parse(shell):
    scripts = ["envs/venv.sh"] + [".ci/run"] * (shell == "bash")
    for script in scripts:
        done = subprocess.run([shell, "-n", script], cwd=ROOT, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")


def source(shell: str, folder: Path, script: Path, **environment: str) -> tuple[str, str]:
    """Sources a script as the README does, under set -eu; stdout and stderr."""
    line = f"set -eu; . '{script}' && echo went on; echo still here"
    command, variables = [shell, "-c", line], os.environ | environment
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True)
    assert done.returncode == 0
    return done.stdout, done.stderr


def checkout(folder: Path) -> Path:
    """A folder with the environment script and requirements that ask for nothing."""
    (folder / "envs").mkdir(parents=True)
    script = shutil.copy(ROOT / "envs/venv.sh", folder / "envs/venv.sh")
    for name in LOCKS:
        (folder / name).write_text(f"# {name}\n", encoding="utf-8")
    return Path(script)


@pytest.mark.parametrize("shell", SHELLS)
def test_sourcing_fails_in_words_and_leaves_the_shell_alive(shell, tmp_path):
    stdout, stderr = source(shell, tmp_path, ROOT / "envs/venv.sh")
    assert stdout == "still here\n"
    assert stderr == (
        f"jko: no requirements.lock in {tmp_path}: "
        "source envs/venv.sh from the root of the repository\n"
    )
    script = checkout(tmp_path / "clone")
    stdout, stderr = source(shell, tmp_path / "clone", script, JKO_EXTRA="gpu")
    assert (stdout, stderr) == (
        "still here\n",
        "jko: JKO_EXTRA is 'gpu'; allowed: slurm, or nothing\n",
    )
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("rm", "cat"):
        (tools / name).symlink_to(shutil.which(name))
    (tools / "python3").write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    (tools / "python3").chmod(0o755)
    shell = shutil.which(shell)
    stdout, stderr = source(shell, tmp_path / "clone", script, PATH=str(tools))
    assert stdout == "still here\n"
    assert "Python 3.11 or newer is needed" in stderr
    assert sorted(path.name for path in (tmp_path / "clone").iterdir()) == sorted(("envs", *LOCKS))


def installer(folder: Path) -> dict[str, str]:
    """A stand-in for uv that makes an environment without packages and writes down each call."""
    folder.mkdir()
    uv = folder / "uv"
    uv.write_text(
        f"""#!/bin/sh
echo "$@" >>"{folder}/calls"
case "$1" in
    venv) exec "{sys.executable}" -m venv --without-pip .venv ;;
    pip) [ ! -e "{folder}/killed" ] || kill -9 $PPID ;;
esac
""",
        encoding="utf-8",
    )
    uv.chmod(0o755)
    (folder / "calls").touch()
    return {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}


def test_the_environment_is_made_once_and_again_when_it_must(tmp_path):
    clone, tools = tmp_path / "clone", tmp_path / "tools"
    script, environment = checkout(clone), installer(tools)

    def installs(**variables: str) -> list[str]:
        before = (tools / "calls").read_text(encoding="utf-8").count("\n")
        stdout, stderr = source("sh", clone, script, **environment, **variables)
        assert stdout == "went on\nstill here\n", stderr
        calls = (tools / "calls").read_text(encoding="utf-8").splitlines()[before:]
        return [call.split()[-1] for call in calls if call.startswith("pip sync")]

    assert installs() == ["requirements.lock"]
    assert installs() == []
    (clone / "requirements.lock").write_text("# other\n", encoding="utf-8")
    assert installs() == ["requirements.lock"]
    assert installs(JKO_EXTRA="slurm") == ["requirements-slurm.lock"]
    # What holds more serves as well.
    assert installs() == []
    clone, script = clone.rename(tmp_path / "moved"), tmp_path / "moved/envs/venv.sh"
    assert installs() == ["requirements.lock"]


def test_an_installation_that_was_killed_is_made_again(tmp_path):
    script, environment = checkout(tmp_path / "clone"), installer(tmp_path / "tools")
    (tmp_path / "tools/killed").touch()
    stdout, _ = source("sh", tmp_path / "clone", script, **environment)
    assert stdout == "still here\n"
    assert (tmp_path / "clone/.venv/bin/activate").exists()
    assert not (tmp_path / "clone/.venv/made-from").exists()
    (tmp_path / "tools/killed").unlink()
    stdout, _ = source("sh", tmp_path / "clone", script, **environment)
    assert stdout == "went on\nstill here\n"


def test_two_shells_make_one_environment(tmp_path):
    script, environment = checkout(tmp_path / "clone"), installer(tmp_path / "tools")
    command = ["sh", "-c", f". '{script}' && echo went on"]
    shells = [
        subprocess.Popen(
            command,
            cwd=tmp_path / "clone",
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    assert [shell.communicate()[0] for shell in shells] == ["went on\n"] * 2
    calls = (tmp_path / "tools/calls").read_text(encoding="utf-8")
    assert calls.count("pip sync") == 1
