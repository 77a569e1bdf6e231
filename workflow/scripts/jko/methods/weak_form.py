"""Weak form: learn V, W and beta from unpaired snapshots by the changes of sample means, without couplings or densities.

The residuals of :mod:`jko.weak` are linear in the coefficients of the energy (:mod:`jko.weak_energy`), up to the step T, so
that Gauss and Newton's steps of generalised least squares settle in a few. The coefficients have a Gaussian prior, with one
variance for the monomials, one for the bumps (of each a second one for what depends on time), one for radial W and one for its
quadratic forms, which :mod:`jko.evidence` takes from the data. The monomials are made orthonormal first, by the mean product of their slopes at the
particles, so that one variance means as much for each of them, wherever the origin is. That of beta is wide, and
where beta is learned that of the monomials up to degree 2 as well: both move the spread of the population, and
what a prior holds back of the one would go to the other. The candidates for the width of the bumps share one set of
test functions and one covariance, so that their evidence tells which one the data want. Where W is learned, each stands there
again with a radial W, and without one: beside a V, a W that the data do not ask for would be made of their noise (see :mod:`jko.weak`),
and the evidence of the smaller energy is then the larger one.

Test functions are the monomials, and bumps around the centres of clusters of the train particles, narrow and wide ones in
turn: narrow ones see the edges that an entropy blurs, wide ones have the least noise. ``waves`` along single
coordinates see far finer edges, and tell beta where particles move little: one of k loses the share tau beta |k|^2 of its mean
in a short step. They are not for a V beside a W, of which the evidence then finds none where there is one. All test functions together are at most a share
of the smallest snapshot, as their covariance comes from it; where chi^2 with waves is two deviations above its mean, it is shrunk
(:mod:`jko.shrinkage`), if that mends it. In many dimensions bumps say little, and powers of single
coordinates go on to the whole degree where products of coordinates no longer fit: a sum over coordinates is
found in 50 dimensions. Products of two coordinates join where the residuals ask for them, by a test of each
(:mod:`jko.products`), until none does or there is no more room: a V of neighbours has of order d of them. V has more bumps than the test functions, since what V cannot carry would count as known. The posterior
covariance of theta stands beside its mean.

An interval may be one Euler step (``scheme: explicit``) or a flow (``scheme: flow``): the log evidence tells which one the data
are. It is that of residuals in units of their noise, so that it does not depend on the units of either kind, and it compares fits
with the same test functions and noise that is shrunk in both or in none. Where the misfit of both is near 1, the larger one is right if they differ by 10 or more, and neither leaves another snapshot out; of a
population that hardly moves they differ by 1, and where neither carries the data the larger one may be that of the wrong kind.

chi^2 of the residuals over what it is in the mean if V, W and beta can be the true ones, N less the coefficients that the
data determine, is the ``misfit``: near 1, or above where V moves particles by more than the test functions see. The posterior does
not know of that: waves shorter than the test functions, say, trap particles as an entropy would hold them up. Where the misfit
is so large that no energy carries the data, or no candidate settles, as on cells that follow no one potential, each interval
gets a velocity besides that no energy explains (:mod:`jko.model_error`), and the posterior knows of it; the misfit stays
that over noise alone. One snapshot that does not belong, where one energy carries the others, is left out (:mod:`jko.outliers`).

What the data cannot tell apart (:mod:`jko.methods.jkonet_star` lists it) stays at its prior: the log of a fit says how many
coefficients of each group the data determine, and where they determine none of a term.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import jax
import numpy as np
import pandas as pd

from jko import model_error, outliers, products, pulls, shrinkage, slopes, trials, weak
from jko.batches import single
from jko.evidence import Posterior
from jko.features import monomials
from jko.gauss_newton import Climb, climb, fits, free, misfit
from jko.methods import Fit, Problem
from jko.weak_energy import SUMMARY, energy, filled, parameters, uncertainty, units_of

__all__ = ["SUMMARY", "energy", "fit", "uncertainty"]

# Most coefficients of V for each residual: beyond one, what samples see of themselves would be taken off a direction
# in which there are no data.
_MOST = 0.5
# Least misfit at which one snapshot may be to blame, and the largest without it.
_SUSPECT = 1.25
# Largest misfit of an energy that carries the data: waves that test functions do not see leave at most 3.3 on the landscapes.
_CARRIED = 4
# How often what no energy explains is measured anew, under the energy that was found beside it.
_ROUNDS = 2
# Share of the drift of an interval that the snapshot before it takes.
_FORWARD = {"explicit": 1.0, "flow": 0.5}


def fit(problem: Problem, settings: Mapping, report=print) -> Fit:
    """Learn the energy of every seed in closed form.

    Raises:
        ValueError: a snapshot has too few train particles for the test functions.
    """
    snapshots = problem.snapshots
    seeds = range(len(snapshots.seed))
    sizes = [len(cloud) for s in seeds for cloud in snapshots.clouds(s, "train")]
    room, degree = int(settings["largest_share"] * min(sizes)), settings["degree"]
    # A sum over coordinates has `degree` powers of each.
    most = max(settings["max_polynomials"], degree * snapshots.dimension)
    factors = monomials(snapshots.dimension, degree, min(most, room - 2))
    factors = np.pad(
        factors, [(0, 0), (0, degree - factors.shape[1])], constant_values=snapshots.dimension
    )
    bumps, _ = trials.numbers(len(factors), snapshots.dimension, room, settings)
    residuals = len(snapshots.tau) * (len(factors) + bumps)
    most = int(_MOST * residuals / (1 + settings["time_degree"]))
    count = max(2, min(settings["trial_centers"], most - len(factors)))
    found, status, history = [], [], []
    for s in seeds:

        def of_seed(line, seed=snapshots.seed[s]):
            report(f"seed {seed}: {line}")

        try:
            params, why, steps = solve(snapshots, s, factors, count, room, settings, of_seed)
        except np.linalg.LinAlgError as error:
            params, why, steps = unsolved(snapshots, s, factors, count, settings, str(error))
        found.append(params)
        status.append(why)
        history += [
            {"seed": int(snapshots.seed[s]), "epoch": i + 1, **row} for i, row in enumerate(steps)
        ]
    rows = max(len(params["basis"]["monomials"]) for params in found)
    found = [filled(params, rows, snapshots.dimension) for params in found]
    stacked = jax.tree.map(lambda *leaves: single(np.stack(leaves)), *found)
    return Fit(stacked, status, pd.DataFrame(history))


class Stage(NamedTuple):
    """The test functions, and what an energy of monomials alone makes of them.

    Attributes:
        tests: basis of phi. plain: the monomials alone, group: of their coefficients, others: the candidates with bumps.
        change: what makes the monomials orthonormal. population: with their fields. white: noise of the residuals.
        nugget: of the noise. start: where the steps ended.
    """

    tests: Mapping
    plain: trials.Candidate
    group: np.ndarray
    others: list[trials.Candidate]
    change: np.ndarray
    population: weak.Population
    nugget: float = weak.NUGGET
    white: weak.Noise | None = None
    start: Climb | None = None


def solve(
    snapshots, s: int, factors: np.ndarray, count: int, room: int, settings: Mapping, report
) -> tuple[dict, str, list[dict]]:
    """The posterior of one seed: parameters, status and the iterations of the chosen candidate.

    Args:
        factors: of the monomials to begin with. count: how many bumps V has. room: most test functions.

    Raises:
        LinAlgError: the data, or what they make of the normal equations, have no Cholesky factor, or no candidate settles.
    """
    units = units_of(snapshots, s)
    clouds = [(cloud - units["center"]) / units["width"] for cloud in snapshots.clouds(s, "train")]
    seed = int(snapshots.seed[s])
    if not all(np.isfinite(cloud).all() for cloud in clouds):
        raise np.linalg.LinAlgError("train particles are not finite numbers")
    kernel, of_w = pulls.kernel_of(snapshots.dimension, settings), None
    if "interaction" in settings["terms"]:
        of_w = [pulls.mean_gradients(kernel, cloud) for cloud in moving(clouds, settings)]
    centers = trials.centres(clouds, count, seed)
    times = (snapshots.time - units["time_center"]) / units["time_width"]

    def problem_of(candidate, change):
        population = population_of(clouds, of_w, times, candidate.basis, change, settings)
        population = population._replace(kernel=None if of_w is None else kernel)
        return population, groups_of(candidate.basis, kernel, settings)

    def begin(factors):
        # The monomials alone, with particles at rest in the covariance of the residuals, say what moves them in that of
        # every candidate. As a start they need not have settled.
        counts = trials.numbers(len(factors), snapshots.dimension, room, settings)
        tests = trials.tests(clouds, factors, *counts, settings["test_widths"], seed)
        plain, *others = trials.candidates(
            factors,
            centers,
            settings["bump_widths"],
            "interaction" in settings["terms"],
            settings["time_degree"] > 0,
        )
        change = trials.orthonormal(plain.basis, clouds)
        population, group = problem_of(plain, change)
        return started(Stage(tests, plain, group, others, change, population), settings)

    stage = begin(factors)
    while len(more := asked_for(stage)):
        vacant = max(0, room - 2 - len(factors))
        report(
            f"{min(len(more), vacant)} of {len(more)} products of two coordinates that the residuals ask for "
            f"join the {len(factors)} monomials; there is room for {vacant}"
        )
        if not vacant:
            break
        factors = np.concatenate([factors, more[:vacant]])
        stage = begin(factors)
    stage, white, best = decide(problem_of, stage, snapshots.time, settings, report)
    reached, chosen = best
    left = residuals_of(problem_of, stage, best)
    missed = model_error.square(stage.white, left) / free(reached, stage.white)
    wider = model_error.log_determinant(white) - model_error.log_determinant(stage.white)
    evidence = reached.found.evidence - 0.5 * wider
    found, change = reached.found._replace(evidence=evidence), stage.change
    counts = {"misfit": missed, "snapshots": len(clouds) - (white.gone > 0)}
    group = groups_of(chosen.basis, kernel, settings)
    params = parameters(found, counts, chosen.basis, change, kernel, group, units, settings)
    beta = f"; beta {params['beta']:.4g} +- {params['beta_deviation']:.2g}"
    condition = f", condition {params['condition']:.2g}"
    report(
        f"taken: {chosen.name}; misfit {missed:.2f}{condition}{beta if 'entropy' in settings['terms'] else ''}"
    )
    for term in settings["terms"]:
        if params.get(f"known_{term}", 1) < 1:
            report(
                f"the data say next to nothing of the {term}: not one of its coefficients is known"
            )
    return params, "ok", reached.path


def started(stage: Stage, settings: Mapping, gone: int | None = None) -> Stage:
    """The stage with the noise of the residuals, of which those of a snapshot may be gone, and the steps of the monomials."""
    mean = np.zeros(len(stage.group))
    for _ in range(2):
        white = weak.noise(stage.population, stage.tests, mean, stage.nugget)
        if gone is not None:
            white = outliers.without(white, len(stage.population.tau), gone)
        at = stage.population, stage.tests, white, stage.group, mean
        start = steps_of(stage.plain, *at, settings)
        mean = start.found.mean
    return stage._replace(white=white, start=start)


def decide(problem_of, stage: Stage, times, settings, report):
    """The stage, without a snapshot that does not belong, the noise that was taken, and what is best under it.

    Raises:
        LinAlgError: no candidate settles.
    """
    best = choose(problem_of, stage, stage.white, settings, report)
    if len(stage.tests["waves"]) and not (best and fits(best[0], stage.white)):
        stage, best = beside_errors_of_means(problem_of, stage, best, settings, report)
    odd = outlier(problem_of, stage, best, settings) if settings["leave_out"] else None
    if odd is not None:
        report(
            f"the snapshot at time {times[odd.snapshot]:g} does not belong and is left out: its residuals are "
            f"{odd.ratio:.1f} times as large as others, which one energy carries"
        )
        stage = started(stage, settings, odd.snapshot)
        best = choose(problem_of, stage, stage.white, settings, report)
    white = stage.white
    if best is None or misfit(best[0], white) > _CARRIED:
        # Steps that take such data at their word overshoot, or end at an energy that a few test functions chose.
        white, best = beside_what_is_missed(problem_of, stage, best, settings, report)
    if best is None:
        raise np.linalg.LinAlgError(
            f"no candidate had settled after {settings['iterations']} iterations"
        )
    return stage, white, best


def beside_errors_of_means(problem_of, stage, best, settings, report):
    """The stage with a larger noise (:mod:`jko.shrinkage`) and what is best under it, if the residuals then fit; else as it was."""
    try:
        nugget = shrinkage.nugget(stage.tests, stage.population.clouds)
        shrunk = started(stage._replace(nugget=nugget), settings)
    except np.linalg.LinAlgError as error:
        report(f"the noise is not shrunk: {error}")
        return stage, best
    other = choose(problem_of, shrunk, shrunk.white, settings, report)
    if not (other and fits(other[0], shrunk.white)):
        return stage, best
    report(f"with {nugget:.2g} of each variance of the means added")
    return shrunk, other


def outlier(problem_of, stage: Stage, best, settings) -> outliers.Outlier | None:
    """A snapshot without which one energy carries the others (:mod:`jko.outliers`), if there is one."""
    reached, candidate = best or (stage.start, stage.others[0])
    population, group = problem_of(candidate, stage.change)

    def refit(snapshot):
        try:
            rest = started(stage, settings, snapshot)
            mean = rest.start.found.mean
            found = steps_of(candidate, population, stage.tests, rest.white, group, mean, settings)
        except np.linalg.LinAlgError:
            return None
        left = weak.residuals(population, stage.tests, found.found.mean)
        return (found, rest.white, left) if found.settled else None

    return outliers.find(refit, reached, stage.white, len(stage.population.tau), _SUSPECT)


def beside_what_is_missed(problem_of, stage, best, settings, report):
    """The noise with a velocity that no energy explains (:mod:`jko.model_error`), and the candidate that is best under it.

    Args:
        best: under the noise alone, or None.
    """
    missed = model_error.covariance(stage.population, stage.tests)
    for _ in range(_ROUNDS):
        left = residuals_of(problem_of, stage, best)
        mean = free(stage.start if best is None else best[0], stage.white)
        delta = model_error.size(stage.white, missed, left, mean)
        report(f"with a velocity of {delta:.3g} in each direction that no energy explains")
        white = model_error.added(stage.white, delta**2 * missed)
        best = choose(problem_of, stage, white, settings, report)
        if best is None:
            break
    return white, best


def residuals_of(problem_of, stage: Stage, best) -> np.ndarray:
    """The residuals (N,) of the best candidate, or those of the monomials where there is none."""
    if best is None:
        return weak.residuals(stage.population, stage.tests, stage.start.found.mean)
    population, _ = problem_of(best[1], stage.change)
    return weak.residuals(population, stage.tests, best[0].found.mean)


def asked_for(stage: Stage) -> np.ndarray:
    """Factors (q, degree) of the products of two coordinates that the residuals ask for, beside the monomials."""
    factors, mean = stage.tests["monomials"], stage.start.found.mean
    d, degree = stage.tests["centers"].shape[1], factors.shape[1]
    every = products.products(d, degree)
    known = set(map(tuple, np.sort(factors, axis=1)))
    rows = every[[tuple(row) not in known for row in products.factors(every, d, degree)]]
    beta = weak.bounded_beta(stage.population, stage.tests, mean)
    misses = misfit(stage.start, stage.white)
    found = products.wanted(stage.population, mean, beta, rows, len(every), misses)
    return products.factors(found, d, degree)


def steps_of(
    candidate, population, tests, white, group, coefficients, settings, partners=None
) -> Climb:
    """The steps of one candidate from the given coefficients on, where ``partners`` may be known."""
    if partners is None:
        partners = weak.partner_score(population, tests, white, coefficients)
    scales, steps = (candidate.start, candidate.fixed), settings["iterations"]
    return climb(population, tests, white, group, scales, coefficients, partners, steps)


def choose(problem_of, stage, white, settings, report) -> tuple[Climb, trials.Candidate] | None:
    """The most probable candidate that settles, and where its steps ended."""
    best, highest = None, -np.inf
    mean = stage.start.found.mean
    # Bumps have no weight there, so that all candidates move the particles to the same places.
    partners = weak.partner_score(stage.population, stage.tests, white, mean)
    for candidate in stage.others:
        population, group = problem_of(candidate, stage.change)
        at = population, stage.tests, white, group, mean
        try:
            reached = steps_of(candidate, *at, settings, partners)
        except np.linalg.LinAlgError as error:
            report(f"{candidate.name}: not solved: {error}")
            continue
        found, path, settled = reached
        report(
            f"{candidate.name}: evidence {found.evidence:.2f}{'' if settled else ', which has not settled'}, chi^2 "
            f"{path[-1]['loss'] * len(white.scale):.1f} of {len(white.scale) - white.gone} residuals after {len(path)} steps, "
            f"coefficients known, of {' '.join(map(str, np.bincount(group)))}: {' '.join(f'{k:.1f}' for k in found.known)}"
        )
        probable = found.evidence + candidate.log_prior
        if settled and probable > highest:
            best, highest = (reached, candidate), probable
    return best


def unsolved(snapshots, s, factors, count, settings, why) -> tuple[dict, str, list[dict]]:
    """Parameters that are no numbers, for a seed without a posterior."""
    d, units = snapshots.dimension, units_of(snapshots, s)
    centers = np.full((count, d), np.nan)
    basis = {"monomials": factors, "centers": centers, "sigma": np.float64(np.nan)}
    kernel = pulls.kernel_of(d, settings)
    group = groups_of(basis, kernel, settings)
    mean = np.full(len(group), np.nan)
    found = Posterior(mean, np.outer(mean, mean), mean, np.nan, mean)
    steps = [{"loss": np.nan, "evidence": np.nan}]
    counts = {"misfit": np.nan, "snapshots": np.nan}
    change = np.eye(len(factors))
    params = parameters(found, counts, basis, change, kernel, group, units, settings)
    return params, f"not solved: {why}", steps


def groups_of(basis: Mapping, kernel: Mapping, settings: Mapping) -> np.ndarray:
    """The group of every coefficient of the terms that are learned."""
    terms = settings["terms"]
    of_w = [len(kernel["ranges"]) + 1, len(kernel["forms"])] if "interaction" in terms else []
    return trials.groups_of(basis, of_w, "entropy" in terms, settings["time_degree"])


def population_of(clouds, of_w, times, basis, change, settings) -> weak.Population:
    """The snapshots at standardised ``times`` with their fields, of monomials made orthonormal by ``change``; of_w are
    those of W, or None.
    """
    powers = np.polynomial.legendre.legvander(times, settings["time_degree"])  # (K, powers)
    fields = trials.fields(basis, change, moving(clouds, settings), powers)
    if of_w is not None:
        fields = [slopes.joined(v, slopes.of_all(w)) for v, w in zip(fields, of_w, strict=True)]
    entropy, forward = "entropy" in settings["terms"], _FORWARD[settings["scheme"]]
    tau = np.diff(times) / np.mean(np.diff(times))
    return weak.Population(clouds, tau, fields, entropy, forward=forward)


def moving(clouds: list[np.ndarray], settings: Mapping) -> list[np.ndarray]:
    """The snapshots whose particles take a step: all but the last one where the steps are those of Euler."""
    return clouds[:-1] if _FORWARD[settings["scheme"]] == 1 else clouds
