"""The record of a fit: hashes of what it read, versions of what ran, and the state of the code."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jko import manifest

SCRIPTS = Path(__file__).parents[1] / "workflow" / "scripts"


def test_the_record_names_settings_inputs_packages_and_seeds(tmp_path):
    path = tmp_path / "snapshots.npz"
    path.write_bytes(b"some particles")
    record = manifest.of_fit(
        {"dataset": "cells", "method": "mine"},
        {"kind": "jkonet_star", "epochs": 7},
        {"snapshots": path},
        np.array([0, 3]),
        ["ok", "diverged at step 512"],
    )
    assert record["dataset"] == "cells" and record["method"] == "mine"
    assert record["settings"] == {"kind": "jkonet_star", "epochs": 7}
    assert record["seeds"] == {"0": "ok", "3": "diverged at step 512"}
    expected = hashlib.sha256(b"some particles").hexdigest()
    assert record["inputs"] == {"snapshots": {"path": str(path), "sha256": expected}}
    assert record["packages"]["jax"] == importlib.metadata.version("jax")
    assert record["python"] == ".".join(map(str, sys.version_info[:3]))
    assert json.loads(manifest.text(record)) == record
    assert manifest.text(record) == manifest.text(dict(reversed(record.items())))


def test_seeds_and_their_ends_are_as_many():
    with pytest.raises(ValueError, match="zip"):
        manifest.of_fit({}, {}, {}, np.array([0, 1]), ["ok"])


def commit_in(folder: Path) -> str | None:
    """What the package says of itself where it stands in another folder."""
    program = "from jko import manifest; print(repr(manifest.commit()))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=True
    )
    return None if done.stdout.strip() == "None" else done.stdout.strip().strip("'")


def test_the_commit_has_a_plus_where_files_differ_from_it(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    (tmp_path / "jko").mkdir()
    for name in ("__init__.py", "manifest.py"):
        shutil.copy(SCRIPTS / "jko" / name, tmp_path / "jko" / name)
    assert commit_in(tmp_path) is None

    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
        command = ["git", "-C", str(tmp_path), *identity, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    git("init", "--quiet")
    git("add", "jko/__init__.py", "jko/manifest.py")
    git("commit", "--quiet", "--message", "first")
    head = git("rev-parse", "HEAD")
    assert commit_in(tmp_path) == head
    with (tmp_path / "jko" / "__init__.py").open("a") as file:
        file.write("# edited\n")
    assert commit_in(tmp_path) == head + "+"
