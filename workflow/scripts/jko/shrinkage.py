"""Shrinkage of the covariance of test functions: how much of its diagonal it should have besides.

Directions that few particles see, as those beyond a sharp edge, seem to have next to no noise in a sample, and generalised least
squares would believe them alone. The covariance R of a snapshot's test functions in units of their deviations is closest to
the true one, in the mean square of its entries, as (1 - lambda) R + lambda I with

    lambda = sum_ij Var(R_ij) / sum_{i != j} R_ij^2

(Ledoit and Wolf 2004), of order 1 / n for n particles. lambda / (1 - lambda) is then the share of each variance of a residual
that :func:`jko.weak.noise` adds, as if each interval measured its means with an error of its own; the covariance of
neighbouring intervals stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from sklearn.covariance import ledoit_wolf_shrinkage

from jko import heat

# Largest lambda, so that no variance is more than doubled.
_MOST = 0.5


def nugget(tests: Mapping, clouds: Sequence[np.ndarray]) -> float:
    """lambda / (1 - lambda), in the mean over the snapshots: the share of each variance to be added to it.

    Args:
        tests: basis of phi. clouds: K of (n_k, d).

    Raises:
        LinAlgError: a test function is the same for all particles of a snapshot.
    """
    values = [heat.values(tests, cloud) for cloud in clouds]
    if not all((value.std(axis=0) > 0).all() for value in values):
        raise np.linalg.LinAlgError(
            "a test function has no variance over the particles of a snapshot"
        )
    shares = [min(_MOST, ledoit_wolf_shrinkage(value / value.std(axis=0))) for value in values]
    return float(np.mean([share / (1 - share) for share in shares]))
