"""The energy of a population, and the one place where its signs, halves and noise scale stand.

    F(rho) = int V drho + 1/2 iint W(x - y) drho(x) drho(y) + beta int rho log rho

Its Wasserstein gradient flow is the law of
    dX = -grad(V + W * rho)(X) dt + sqrt(2 beta) dB.
(jkonet_star eq. 10 writes the interaction without the 1/2 and its gradient without the 2;
with the 1/2 here both describe the same dynamics.)

Functions are written for one particle x: (d,) and the population as a cloud: (n, d), but for :func:`drifts` and
:func:`mean_pulls`, which are of all particles at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

# Pairs of particles whose forces are formed at a time. The units of a network at more of them than this leave the
# cache, and a pair takes two to three times as long.
_BLOCK_PAIRS = 2**12
# Particles at which the mean field of a separable W is taken at a time: each has many products for a monomial.
_BLOCK_PARTICLES = 256


class Energy(NamedTuple):
    """F, by its terms: a pytree, so that compiled functions take it as an argument.

    The callables are `jax.tree_util.Partial`, whose leaves are the parameters of a learned term; an interaction may also be
    the :class:`Even` part of one, or a :class:`Separable` one.

    Attributes:
        potential: V(x, t) for x (d,) and t (); a static potential ignores t.
        interaction: W(z) for z (d,), or None for no interaction.
        beta: weight of the entropy, a diffusivity (length^2 / time), >= 0.
    """

    potential: Callable[[Array, Array], Array]
    interaction: Callable[[Array], Array] | None = None
    beta: float | Array = 0.0


class Even(NamedTuple):
    """The even part of a kernel k, a `jax.tree_util.Partial`, as a W: (k(z) + k(-z)) / 2 for z (d,)."""

    kernel: Callable[[Array], Array]

    def __call__(self, z: Array) -> Array:
        return (self.kernel(z) + self.kernel(-z)) / 2


class Separable(NamedTuple):
    """A kernel of finite rank, W(x - y) = sum_j a_j(x) b_j(y): (W * rho)(x) takes the means of the b_j over rho, and no pairs.

    Attributes:
        kernel: W(z) for z (d,).
        mean_field: of a cloud (n, d) the function x (d,) to (W * rho)(x) = mean_y W(x - y).
    """

    kernel: Callable[[Array], Array]
    mean_field: Callable[[Array], Callable[[Array], Array]]

    def __call__(self, z: Array) -> Array:
        return self.kernel(z)


def first_variation(energy: Energy, x: Array, t: Array, cloud: Array, log_density: Array) -> Array:
    """dF/drho at x, up to a constant: V + W * rho + beta log rho.

    Args:
        x: (d,) the particle. t: () time. cloud: (n, d) the population.
        log_density: () log rho(x).
    """
    value = energy.potential(x, t)
    if energy.interaction is not None:
        value = value + jnp.mean(jax.vmap(energy.interaction)(x[None, :] - cloud))
    return value + energy.beta * log_density


def drift(energy: Energy, x: Array, t: Array, cloud: Array) -> Array:
    """-grad V(x, t) - mean_y grad W(x - y): (d,), length / time.
    The deterministic part of the SDE.
    """
    value = -jax.grad(energy.potential)(x, t)
    if energy.interaction is not None:
        value = value - jnp.mean(jax.vmap(jax.grad(energy.interaction))(x[None, :] - cloud), axis=0)
    return value


def drifts(energy: Energy, cloud: Array, t: Array) -> Array:
    """The :func:`drift` of every particle of a cloud (n, d): (n, d)."""
    slopes = jax.vmap(lambda x: jax.grad(energy.potential)(x, t))(cloud)
    if energy.interaction is None:
        return -slopes
    return -slopes - mean_pulls(energy.interaction, cloud)[0]


def mean_pulls(interaction: Callable[[Array], Array], cloud: Array) -> tuple[Array, Array]:
    """(grad W * rho)(x) at every particle of a cloud (n, d), and the mean of W over all pairs: (n, d), ().

    Particle by particle of a :class:`Separable` W, and otherwise block by block over the pairs.
    Of the even part of a kernel k every pair x, y is asked for once in each order, and not in both for each of the two particles:
    mean_y grad W(x - y) = mean_y (grad k(x - y) - grad k(y - x)) / 2.
    """
    n = len(cloud)
    if isinstance(interaction, Separable):
        mean = jax.value_and_grad(interaction.mean_field(cloud))
        heights, pulls = jax.lax.map(mean, cloud, batch_size=min(n, _BLOCK_PARTICLES))
        return pulls, jnp.mean(heights)
    rows = min(n, max(1, _BLOCK_PAIRS // n))
    even = isinstance(interaction, Even)
    kernel = jax.value_and_grad(interaction.kernel if even else interaction)
    starts = jnp.arange(0, n, rows)

    def block(from_left, start):
        # The last block starts where it fits, and counts what is new alone.
        first = jnp.minimum(start, n - rows)
        new = (first + jnp.arange(rows) >= start).astype(cloud.dtype)
        left = jax.lax.dynamic_slice_in_dim(cloud, first, rows)
        values, slopes = jax.vmap(lambda x: jax.vmap(kernel)(x[None, :] - cloud))(left)
        from_left = from_left + jnp.sum(new[:, None, None] * slopes, axis=0)
        return from_left, (jnp.mean(slopes, axis=1), jnp.sum(new * jnp.mean(values, axis=1)))

    from_left, (of_rows, heights) = jax.lax.scan(block, jnp.zeros_like(cloud), starts)
    number = jnp.arange(n)
    # Row i is in block i // rows, whose first row may lie before the block's start.
    b = number // rows
    found = of_rows[b, number - jnp.minimum(b * rows, n - rows)]
    if even:
        found = (found - from_left / n) / 2
    return found, jnp.sum(heights) / n


def velocity(energy: Energy, x: Array, t: Array, cloud: Array, score: Array) -> Array:
    """Minus the Wasserstein gradient: drift - beta grad log rho(x), (d,), length / time.

    Args:
        score: (d,) grad log rho at x.
    """
    return drift(energy, x, t, cloud) - energy.beta * score


def noise_scale(energy: Energy, tau: Array) -> Array:
    """Standard deviation of the noise of one Euler-Maruyama step of length
    tau: sqrt(2 tau beta).
    """
    return jnp.sqrt(2 * tau * energy.beta)


def static(potential: Callable[[Array], Array]) -> Partial:
    """V(x) as a V(x, t) that ignores t."""
    return Partial(_ignore_time, Partial(potential))


def _ignore_time(potential: Callable[[Array], Array], x: Array, t: Array) -> Array:
    return potential(x)


def zero_energy() -> Energy:
    """V = 0, W = 0, beta = 0: nothing moves."""
    return Energy(static(_zero))


def _zero(x: Array) -> Array:
    return jnp.zeros((), x.dtype)
