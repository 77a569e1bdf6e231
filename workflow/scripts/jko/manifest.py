"""The record that makes a fit traceable: its settings, its data, the packages and the commit."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

PACKAGES = ("jax", "jaxlib", "flax", "optax", "ott-jax", "numpy", "scipy", "pot", "scikit-learn")


def of_fit(
    names: Mapping[str, str],
    settings: Mapping[str, Any],
    inputs: Mapping[str, str],
    seeds: np.ndarray,
    status: Sequence[str],
) -> dict[str, Any]:
    """The record of one fit.

    Args:
        names: dataset and method. settings: of the method, the dataset and what was precomputed,
            each with all defaults.
        inputs: name -> file that was learned from; its sha256 is recorded.
        seeds, status: the seeds and how each of them ended.
    """
    return {
        **names,
        "settings": dict(settings),
        "seeds": {str(seed): state for seed, state in zip(seeds, status, strict=True)},
        "inputs": {
            name: {"path": str(path), "sha256": sha256(path)} for name, path in inputs.items()
        },
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "machine": platform.machine(),
        "commit": commit(),
    }


def sha256(path: str | Path) -> str:
    """Hexadecimal sha256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def commit() -> str | None:
    """The commit of the code, with "+" where tracked files differ from it;
    None outside a git checkout.
    """
    folder = Path(__file__).parent
    command = ["git", "-C", str(folder), "describe", "--always", "--abbrev=40", "--dirty=+"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip()


def text(record: Mapping[str, Any]) -> str:
    """The record as indented JSON."""
    return json.dumps(record, indent=2, sort_keys=True) + "\n"
