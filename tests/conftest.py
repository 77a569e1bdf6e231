"""Strict JAX for every test: silent changes of rank or dtype raise; nothing is cached beyond the session."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

# Before JAX and numpy are imported, which read them. One thread for compiled programs and for products of matrices, which
# are small. And little work on making programs, these and those of the jobs that tests start, without the places in the
# code that they come from: most run for less time than it takes to compile them.
os.environ["NPROC"] = "1"
os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
os.environ["JAX_TRACEBACK_IN_LOCATIONS_LIMIT"] = "0"
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_cpu_use_fusion_emitters=false"
for name in [name for name in os.environ if name.startswith("JAX_COMPILATION_CACHE")]:
    del os.environ[name]
_CELLS = Path(__file__).resolve().parents[2] / "shared" / "eb"
if _CELLS.is_dir():
    os.environ.setdefault("JKO_EMBRYOID", str(_CELLS))

import jax
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")
# Many tests fit the same method in the same shapes: one compilation serves them all.
_CACHE = tempfile.TemporaryDirectory(prefix="jko-tests-")
jax.config.update("jax_compilation_cache_dir", _CACHE.name)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


@pytest.fixture(scope="module", autouse=True)
def forget_programs():
    """Give back the memory of a module's compiled programs; what the next one shares with it lies on the disk."""
    yield
    jax.clear_caches()
