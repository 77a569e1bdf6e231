"""Test and trial functions of the weak form: what is averaged, what V may be made of, and where the climb of the evidence starts.

A candidate has monomials and bumps of one width; :mod:`jko.methods.weak_form` takes the one of the largest evidence. Quadratic
forms of W are known by the motion of the mean alone, of which few snapshots say little: where the evidence hardly tells, W is radial.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
from scipy.linalg import block_diag
from sklearn.cluster import KMeans

from jko import heat
from jko.evidence import LOWEST
from jko.features import degrees, gap
from jko.slopes import Slopes, inner_products

# Seeds the clusters apart from every other use of a dataset's seeds.
_STREAM = 9
# Prior displacements in one interval, in units of the population's width: from where the evidence is climbed, and where it
# is not asked.
_LARGE, _SMALL, _WIDE = 0.1, 0.01, 1.0
# Log of how much rarer a W with quadratic forms is than a radial one.
_RARE = 3.0
# Where beta is learned, the degree up to which monomials have the wide prior.
_MOMENTS = 2
# Share of its diagonal that is added to the product of the monomials' slopes.
_NUGGET = 1e-9


class Candidate(NamedTuple):
    """A set of trial functions, and where its scales start.

    Attributes:
        name: for the log. basis: of psi. start: (groups,) log variances, of the wide prior, the monomials, the bumps, if V
            depends on time what both have of its powers, and, if learned, radial W and its quadratic forms. fixed: (groups,) bool, those that stay.
            log_prior: beside those of one width, which comes to the evidence.
    """

    name: str
    basis: Mapping
    start: np.ndarray
    fixed: np.ndarray
    log_prior: float


def centres(clouds: list[np.ndarray], count: int, seed: int) -> np.ndarray:
    """Centres (count, d) of clusters of all particles."""
    state = int(np.random.SeedSequence([seed, _STREAM]).generate_state(1)[0])
    found = KMeans(count, n_init=1, max_iter=30, random_state=state).fit(np.concatenate(clouds))
    return found.cluster_centers_


def tests(
    clouds: list[np.ndarray],
    factors: np.ndarray,
    bumps: int,
    waves: int,
    widths: Sequence[float],
    seed: int,
) -> dict[str, np.ndarray]:
    """The test functions: monomials, bumps around clusters of all particles, and waves along each coordinate.

    Args:
        factors: of the monomials. bumps: how many. waves: how many for each coordinate, each a cosine and a sine: of one,
            two.. half-waves over a uniform law of the same variance.
        widths: sigma of the bumps, in turn, in units of the mean squared gap between their centres.
    """
    points = centres(clouds, bumps, seed)
    with np.errstate(divide="ignore"):
        first = np.pi / np.sqrt(12) / np.std(np.concatenate(clouds), axis=0)
    return {
        "monomials": factors,
        "centers": points,
        "sigma": gap(points) * np.resize(widths, bumps),
        "waves": np.kron(np.arange(1, waves + 1)[:, None], np.diag(first)),
    }


def numbers(monomials: int, d: int, room: int, settings: Mapping) -> tuple[int, int]:
    """How many bumps there are among so many test functions, and waves for each coordinate."""
    bumps = max(2, min(settings["centers"], room - monomials))
    return bumps, max(0, min(settings["waves"], (room - monomials - bumps) // (2 * d)))


def candidates(
    factors: np.ndarray,
    points: np.ndarray,
    widths: Sequence[float],
    interaction: bool,
    varying: bool = False,
) -> list[Candidate]:
    """The monomials alone, and with bumps of every width; these also with a radial W and without one, where W is learned.

    Args:
        factors: of the monomials. points: (c, d) centres of the bumps.
        widths: sigma of the bumps in units of the mean squared gap between the points.
        varying: whether V depends on time.
    """
    wide, large, small = (2 * np.log(size) for size in (_WIDE, _LARGE, _SMALL))
    # What W is, its scales, and its log prior.
    interactions = [("", [], 0.0)]
    if interaction:
        interactions = [
            ("", [small, small], -_RARE),
            (", radial W", [small, LOWEST], 0.0),
            (", no W", [LOWEST, LOWEST], 0.0),
        ]

    def candidate(name, width, scales, log_prior):
        basis = {"monomials": factors, "centers": points, "sigma": width * gap(points)}
        start = np.array(scales)
        fixed = (start == LOWEST) | (start == wide)
        return Candidate(name, basis, start, fixed, log_prior)

    first = [wide, large, LOWEST, *[large, LOWEST] * varying, *interactions[0][1]]
    found = [candidate("monomials alone", widths[0], first, 0.0)]
    for (note, scale, log_prior), width in product(interactions, widths):
        name = f"bumps of sigma {width * gap(points):.4g}{note}"
        scales = [wide, small, small, *[small, small] * varying, *scale]
        found.append(candidate(name, width, scales, log_prior))
    return found


def groups_of(basis: Mapping, kernels: Sequence[int], entropy: bool, powers: int = 0) -> np.ndarray:
    """The group of every coefficient, as :class:`Candidate` lists them: of V, without and with so many powers of time, then
    of so many kernels of each kind of W, then beta.
    """
    low = degrees(basis["monomials"], basis["centers"].shape[1]) <= _MOMENTS
    p, c = len(basis["monomials"]), len(basis["centers"])
    group = [*np.where(low & entropy, 0, 1), *[2] * c, *[*[3] * p, *[4] * c] * powers]
    first = 5 if powers else 3
    pulls = [first + kind for kind, count in enumerate(kernels) for _ in range(count)]
    return np.array(group + pulls + [0] * entropy)


def orthonormal(basis: Mapping, clouds: list[np.ndarray]) -> np.ndarray:
    """C (p, p), upper triangular: the monomials psi C have E[d_i psi . d_j psi] = 1 at the particles for i = j, else 0.

    Raises:
        LinAlgError: the slopes of the monomials are no finite numbers at the particles.
    """
    p = len(basis["monomials"])
    alone = {"monomials": basis["monomials"], "centers": basis["centers"][:0], "sigma": 1.0}
    found = [heat.slopes(alone, cloud) for cloud in clouds[:-1]]
    gram = sum(inner_products(slopes, slopes) for slopes in found) / sum(map(len, clouds[:-1]))
    if not np.isfinite(gram).all():
        raise np.linalg.LinAlgError("the monomials have no finite slopes at the train particles")
    gram[np.diag_indices(p)] *= 1 + _NUGGET
    return np.linalg.inv(np.linalg.cholesky(gram)).T


def fields(
    basis: Mapping, change: np.ndarray, clouds: Sequence[np.ndarray], powers: np.ndarray
) -> list[Slopes]:
    """grad psi at the particles of every cloud (n, d), of monomials made orthonormal by ``change``, times each of the
    ``powers`` (K, q) of its time, one after the other: q times as many functions as the basis has.
    """
    count = len(basis["centers"])
    mix = block_diag(change, np.eye(count))
    return [
        heat.slopes(basis, cloud)._replace(mix=np.concatenate([t * mix for t in factors], axis=1))
        for cloud, factors in zip(clouds, powers, strict=False)
    ]
