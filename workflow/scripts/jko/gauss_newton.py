"""The steps of Gauss and Newton on the residuals of :mod:`jko.weak`, each with the scales of the largest evidence.

At coefficients theta the residuals are linearised, the scales of the prior climb the evidence of that linear problem
(:mod:`jko.evidence`), and the posterior mean under them is the next theta. Where the residuals bend, whole steps may go to and
fro between two places for good: after :data:`_WHOLE` of them theta goes half of the way, which contracts whatever goes to and
fro by less than three times its size.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from jko import weak
from jko.evidence import Posterior, maximise

# A rise of the evidence that ends the iteration.
_SETTLED = 0.05
# A step that makes chi^2 so many times as large, and by more than its mean, is too long.
_WORSE = 2
# Steps before they are halved.
_WHOLE = 8


class Climb(NamedTuple):
    """Where the steps ended.

    Attributes:
        found: posterior of the last linear problem. path: loss (chi^2 for each residual) and evidence of every step.
        settled: whether the evidence rose no more.
    """

    found: Posterior
    path: list[dict[str, float]]
    settled: bool


def climb(
    population: weak.Population,
    tests: Mapping,
    white: weak.Noise,
    group: np.ndarray,
    scales: tuple[np.ndarray, np.ndarray],
    coefficients: np.ndarray,
    partners: np.ndarray,
    iterations: int,
) -> Climb:
    """Steps from the given coefficients on, until the evidence rises no more or so many are done.

    Args:
        group: (p,) the group of each coefficient. scales: (groups,) log variances to start from, and bool, those that stay.
        partners: (q,) of :func:`jko.weak.partner_score` at the given coefficients.

    Raises:
        LinAlgError: residuals that are no numbers, or normal equations without a factor.
    """
    log_variance, fixed = scales
    before, found, path = coefficients, None, []
    own = weak.own_score(population, tests, white, coefficients, partners)
    for _ in range(iterations):
        normal = weak.normal_equations(population, tests, white, coefficients, own)
        loss = normal.residual / len(white.scale)
        if found is None and not np.isfinite(loss):
            raise np.linalg.LinAlgError("the residuals of the train particles are not finite")
        if found is not None and not loss < _WORSE * path[-1]["loss"] + 1:
            # Too far for what was linear at the last place: half of the way.
            coefficients = (before + coefficients) / 2
            continue
        last, found = found, maximise(
            normal.gram, normal.moment, normal.square, group, log_variance, fixed
        )
        path.append({"loss": loss, "evidence": found.evidence})
        if last is not None and abs(found.evidence - last.evidence) < _SETTLED:
            return Climb(found, path, True)
        way = found.mean - coefficients
        before, log_variance = coefficients, found.log_variance
        coefficients = coefficients + (way if len(path) < _WHOLE else way / 2)
    return Climb(found, path, False)


def misfit(reached: Climb, white: weak.Noise) -> float:
    """chi^2 over what noise alone would leave of it."""
    return reached.path[-1]["loss"] * len(white.scale) / free(reached, white)


def free(reached: Climb, white: weak.Noise) -> float:
    """chi^2 in the mean if noise is all that is left: N less the coefficients that the data determine."""
    return weak.expected_square(white) - float(np.sum(reached.found.known))


def fits(reached: Climb, white: weak.Noise) -> bool:
    """Whether chi^2 is at most two standard deviations of one with as many degrees of freedom above its mean."""
    left = free(reached, white)
    return left > 0 and misfit(reached, white) < 1 + 2 * np.sqrt(2 / left)
