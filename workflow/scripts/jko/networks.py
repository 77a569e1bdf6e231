"""Networks as pure functions of (parameters, point)."""

from __future__ import annotations

from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
from jax import Array


class MLP(nn.Module):
    """Multi-layer perceptron with softplus activations and one output: (d,) -> ().

    jkonet_star appendix C.5: two hidden layers of 64.
    """

    hidden: Sequence[int] = (64, 64)

    @nn.compact
    def __call__(self, x: Array) -> Array:
        for width in self.hidden:
            x = nn.softplus(nn.Dense(width)(x))
        return jnp.squeeze(nn.Dense(1)(x), axis=-1)
