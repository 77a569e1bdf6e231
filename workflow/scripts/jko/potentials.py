r"""Named potentials V: (d,) -> (), each written for one particle v and registered under its name.

Equations (27)-(41) are those of jkonet_star, appendix F; flowers, watershed, wavy_plateau and
zigzag_ridge are those that ijkonet adds. V has the units of length^2 / time.

With h = floor(d / 2), two-dimensional functions are extended to d >= 2 through
    z_1 = mean(v_1 .. v_h),    z_2 = mean(v_{h+1} .. v_d).
The paper's second sum starts at i = h but divides by d - h, the number of terms from i = h + 1
on: that reading makes z_2 a mean, and for odd d the middle coordinate belongs to the second half.

Gradients are finite also where V has a kink or a singular point: the term that has it adds zero.

`moon` (eq. 31) is left out: its 21 x 21 matrix is damaged in the text of the paper, and how a v of
d coordinates meets 21 rows is not said.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

Potential = Callable[[Array], Array]

POTENTIALS: dict[str, Potential] = {}


def register(potential: Potential) -> Potential:
    """Make a potential available under the name of its function."""
    name = potential.__name__
    if name in POTENTIALS:
        raise ValueError(f"potential {name!r} is registered twice; names must be distinct")
    POTENTIALS[name] = potential
    return potential


def get(name: str) -> Potential:
    """The potential of that name.

    Raises:
        ValueError: no potential of that name is registered.
    """
    if name not in POTENTIALS:
        raise ValueError(f"unknown potential {name!r}; registered: {', '.join(sorted(POTENTIALS))}")
    return POTENTIALS[name]


def _at_least_two(v: Array) -> None:
    if v.shape[0] < 2:
        raise ValueError(f"dimension {v.shape[0]} is too small; this potential needs at least 2")


def _halves(v: Array) -> tuple[Array, Array]:
    """z_1 and z_2: the means of the first floor(d / 2) coordinates and of the others, d >= 2."""
    _at_least_two(v)
    h = v.shape[0] // 2
    return jnp.mean(v[:h]), jnp.mean(v[h:])


def _norm(v: Array) -> Array:
    """|v| with the derivatives at the origin set to zero; autodiff of sqrt gives NaN there."""
    square = jnp.sum(v**2)
    positive = square > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, square, 1.0)), 0.0)


@register
def styblinski_tang(v: Array) -> Array:
    """0.5 sum_i (v_i^4 - 16 v_i^2 + 5 v_i) (jkonet_star eq. 27), any d."""
    return 0.5 * jnp.sum(v**4 - 16 * v**2 + 5 * v)


@register
def holder_table(v: Array) -> Array:
    """10 |sin(z_1) cos(z_2) exp(|1 - |v| / pi|)| (jkonet_star eq. 28), d >= 2."""
    z1, z2 = _halves(v)
    return 10 * jnp.abs(jnp.sin(z1) * jnp.cos(z2)) * jnp.exp(jnp.abs(1 - _norm(v) / jnp.pi))


@register
def cross_in_tray(v: Array) -> Array:
    """-2 (|sin(z_1) sin(z_2) exp(a)| + 1)^0.1, a = |10 - |v| / pi| (jkonet_star eq. 29), d >= 2.

    exp(a) is taken out of the bracket, which leaves values of order one under the power. The slope
    across z_1 = 0 and z_2 = 0 is finite but large, up to 0.2 exp(a), about 4400 near the origin.
    """
    z1, z2 = _halves(v)
    a = jnp.abs(10 - _norm(v) / jnp.pi)
    return -2 * jnp.exp(0.1 * a) * (jnp.abs(jnp.sin(z1) * jnp.sin(z2)) + jnp.exp(-a)) ** 0.1


@register
def oakley_ohagan(v: Array) -> Array:
    """5 sum_i (sin(v_i) + cos(v_i) + v_i^2 + v_i) (jkonet_star eq. 30), any d."""
    return 5 * jnp.sum(jnp.sin(v) + jnp.cos(v) + v**2 + v)


@register
def ishigami(v: Array) -> Array:
    """sin(z_1) + 7 sin(z_2)^2 + 0.1 ((z_1 + z_2) / 2)^4 sin(z_1) (jkonet_star eq. 32), d >= 2."""
    z1, z2 = _halves(v)
    return jnp.sin(z1) + 7 * jnp.sin(z2) ** 2 + 0.1 * ((z1 + z2) / 2) ** 4 * jnp.sin(z1)


@register
def friedman(v: Array) -> Array:
    """(10 sin(2 pi a b) + 20 (2 a sin(b) - 1/2)^2 + 10 (2 a cos(b) - 1)^2 + b sin(2 a) / 10) / 100.

    Here a = z_1 - 7 and b = z_2 - 7 (jkonet_star eq. 33), d >= 2. On [-4, 4]^2 the sine of a b has a hundred
    periods; the rest of V alone has 0.020 % of L2-UVP in two dimensions with tau = 0.01.
    """
    z1, z2 = _halves(v)
    a, b = z1 - 7, z2 - 7
    wave = 10 * jnp.sin(2 * jnp.pi * a * b)
    rings = 20 * (2 * a * jnp.sin(b) - 0.5) ** 2 + 10 * (2 * a * jnp.cos(b) - 1) ** 2
    return (wave + rings + 0.1 * b * jnp.sin(2 * a)) / 100


@register
def sphere(v: Array) -> Array:
    """-10 |v|^2 (jkonet_star eq. 34), any d: unbounded below, particles run away exponentially."""
    return -10 * jnp.sum(v**2)


@register
def bohachevsky(v: Array) -> Array:
    """10 (z_1^2 + 2 z_2^2 - 0.3 cos(3 pi z_1) - 0.4 cos(4 pi z_2)) (jkonet_star eq. 35), d >= 2."""
    z1, z2 = _halves(v)
    waves = 0.3 * jnp.cos(3 * jnp.pi * z1) + 0.4 * jnp.cos(4 * jnp.pi * z2)
    return 10 * (z1**2 + 2 * z2**2 - waves)


@register
def three_hump_camel(v: Array) -> Array:
    """2 z_1^2 - 1.05 z_1^4 + z_1^6 / 6 + z_1 z_2 + z_2^2 (jkonet_star eq. 36), d >= 2."""
    z1, z2 = _halves(v)
    return 2 * z1**2 - 1.05 * z1**4 + z1**6 / 6 + z1 * z2 + z2**2


@register
def beale(v: Array) -> Array:
    """sum_{k=1..3} (c_k - z_1 + z_1 z_2^k)^2 / 100 with c = (1.5, 2.25, 2.625), d >= 2.

    jkonet_star eq. 37 prints z_1 z_2 in the second bracket. Beale's function has z_1 z_2^2 there:
    only so do the three brackets vanish together, at (3, 1/2). The authors' published code has it.
    """
    z1, z2 = _halves(v)
    first, second, third = 1.5 - z1 + z1 * z2, 2.25 - z1 + z1 * z2**2, 2.625 - z1 + z1 * z2**3
    return (first**2 + second**2 + third**2) / 100


@register
def double_exponential(v: Array) -> Array:
    """200 exp(-|v - m 1|^2 / sigma) + 200 exp(-|v + m 1|^2 / sigma), sigma = 20, m = 3, any d.

    jkonet_star eq. 38 prints the second term without the weight 200, with the norm not squared and
    with an s that is not defined. Read as the twin of the first term it is smooth, and V is even.
    """
    sigma, m = 20, 3
    return 200 * (jnp.exp(-jnp.sum((v - m) ** 2) / sigma) + jnp.exp(-jnp.sum((v + m) ** 2) / sigma))


@register
def relu(v: Array) -> Array:
    """-50 sum_i max(0, v_i) (jkonet_star eq. 39), any d; the slope at the kink is zero."""
    return -50 * jnp.sum(jax.nn.relu(v))


@register
def rotational(v: Array) -> Array:
    """10 max(0, arctan2(z_2 + 5, z_1 + 5) + pi) (jkonet_star eq. 40), d >= 2.

    ReLU is read as the plain rectifier, not as eq. 39, whose factor -50 would make V -500 times the
    angle. The angle jumps across the ray z_2 = -5, z_1 < -5, outside the cube [-4, 4]^d; at its
    centre (-5, -5), where autodiff of arctan2 gives NaN, the gradient is zero.
    """
    z1, z2 = _halves(v)
    centre = (z1 == -5) & (z2 == -5)
    angle = jnp.arctan2(jnp.where(centre, 0.0, z2 + 5), jnp.where(centre, 1.0, z1 + 5))
    return 10 * jax.nn.relu(angle + jnp.pi)


@register
def flat(v: Array) -> Array:
    """0 (jkonet_star eq. 41, whose right-hand side is missing in the text), any d."""
    return jnp.zeros((), v.dtype)


@register
def flowers(v: Array) -> Array:
    """sum_i v_i + 2 sin(|v_i|^1.2) (ijkonet, appendix A.1), any d.

    The curvature of |v_i|^1.2 is infinite at 0; autodiff gives zero there, not NaN.
    """
    kink = v == 0
    power = jnp.where(kink, 0.0, jnp.abs(jnp.where(kink, 1.0, v)) ** 1.2)
    return jnp.sum(v + 2 * jnp.sin(power))


@register
def watershed(v: Array) -> Array:
    """(1/10) sum_{i<d} v_i + v_i^2 (v_{i+1} + 4) (ijkonet, appendix A.1), d >= 2."""
    _at_least_two(v)
    return jnp.sum(v[:-1] + v[:-1] ** 2 * (v[1:] + 4)) / 10


@register
def wavy_plateau(v: Array) -> Array:
    """sum_i cos(pi v_i) + v_i^4 / 2 - 3 v_i^2 + 1 (ijkonet, appendix A.1), any d."""
    return jnp.sum(jnp.cos(jnp.pi * v) + v**4 / 2 - 3 * v**2 + 1)


@register
def zigzag_ridge(v: Array) -> Array:
    """sum_{i<d} (v_i - v_{i+1})^2 + cos(v_i) (v_i + v_{i+1}) + v_i^2 v_{i+1}, d >= 2.

    Of ijkonet, appendix A.1.
    """
    _at_least_two(v)
    a, b = v[:-1], v[1:]
    return jnp.sum((a - b) ** 2 + jnp.cos(a) * (a + b) + a**2 * b)


# The landscapes of the two papers, in their order: all that is registered above this line.
PAPER_LANDSCAPES: tuple[str, ...] = tuple(POTENTIALS)


@register
def cell_ring(v: Array) -> Array:
    """0.1 (|v|^2 - 4)^2, any d: a ring of radius 2, the potential of the cell-interaction system.

    Its partner is the kernel `gaussian_attraction`.
    """
    return 0.1 * (jnp.sum(v**2) - 4) ** 2
