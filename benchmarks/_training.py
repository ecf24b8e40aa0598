"""What a peer hands over, and the loss and the data that all share."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks._architectures import Network

RATE = 0.01


class Peer(NamedTuple):
    """A network in one framework, ready to train.

    Attributes:
        step: (carry, images, labels) -> (carry, loss), pure: to be jitted, the carry donated.
        carry: parameters and whatever else changes.
        parameters: how many numbers are trained.
        images: turns images (N, H, W, C) into what the framework expects.
        logits: (parameters, rest, images) -> (logits, rest), the forward pass in training mode.
    """

    step: Callable[[Any, Any, Any], Any]
    carry: Any
    parameters: int
    images: Callable[[Any], Any]
    logits: Callable[[Any, Any, Any], Any]


def peer(
    logits: Callable[[Any, Any, Any], Any], params: Any, rest: Any, images: Any = None
) -> Peer:
    """A peer from its forward pass: the same loss and the same update for all."""

    def objective(params, rest, x, labels):
        y, rest = logits(params, rest, x)
        losses = optax.softmax_cross_entropy_with_integer_labels(y, labels)
        return losses.mean(), rest

    def step(carry, x, labels):
        params, rest = carry
        (loss, rest), gradient = jax.value_and_grad(objective, has_aux=True)(
            params, rest, x, labels
        )
        params = jax.tree.map(lambda p, g: p - RATE * g, params, gradient)
        return (params, rest), loss

    count = sum(leaf.size for leaf in jax.tree.leaves(params))
    return Peer(step, (params, rest), count, images or (lambda x: x), logits)


def filled(shapes: Any, seed: int = 0) -> Any:
    """Random parameters for a tree of shapes: kernels as He, vectors (scale, variance) near 1.

    The same for every framework, and without compiling its initializers, which takes longer than
    the measurement. A scale that begins at zero or 1e-6, as in ConvNeXt, would hide whole blocks
    from a comparison of gradients.
    """
    rng = np.random.default_rng(seed)

    def fill(leaf):
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            return jnp.zeros(leaf.shape, leaf.dtype)
        fan_in = np.prod(leaf.shape[:-1]) if leaf.ndim > 1 else 1
        values = rng.standard_normal(leaf.shape) * np.sqrt(2 / fan_in)
        values = values if leaf.ndim > 1 else rng.uniform(0.5, 1.5, leaf.shape)
        return jnp.asarray(values, leaf.dtype)

    return jax.tree.map(fill, shapes)


def data(network: Network) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels, the same for all."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal(network.x, np.float32)
    return x, rng.integers(0, network.classes, network.labels, np.int32)


FUNCTIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "relu": jax.nn.relu,
    "relu6": jax.nn.relu6,
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "mean": lambda x: x.mean((1, 2)),
    "flatten": lambda x: x.reshape(x.shape[0], -1),
}
"""Functions without parameters, on images (N, H, W, C)."""


def skip(x: jax.Array, stride: int, features: int) -> jax.Array:
    """Every stride-th pixel, with zeros for the channels that are missing."""
    x = x[:, ::stride, ::stride]
    return jnp.pad(x, [(0, 0)] * 3 + [(0, features - x.shape[-1])])
