"""Mixed precision: activations in a short dtype, parameters and losses in float32.

A layer keeps its parameters in float32 and computes in the dtype of its input, so the precision
of a whole model is the dtype of the images that it is given. Gradients with respect to the
parameters come back in float32 by themselves: the cast is part of the function.
"""

import jax
import jax.numpy as jnp

from jaxconv import _parse

PRECISIONS = ("float32", "bfloat16")


def compute_dtype(where: str, precision: str) -> jnp.dtype:
    """The dtype of activations for a precision by name."""
    return jnp.dtype(_parse.choice(where, "precision", precision, PRECISIONS))


def to_float32(images: jax.Array) -> jax.Array:
    """Images as float32: bytes are divided by 255, floats are cast.

    Args:
        images: any shape, uint8 in 0..255 or floating.

    Returns:
        The same shape, float32.

    Raises:
        TypeError: for integers that are not bytes, whose range nobody knows.

    Example:
        >>> to_float32(jnp.array([0, 51, 255], jnp.uint8)).round(3).tolist()
        [0.0, 0.20000000298023224, 1.0]
    """
    if images.dtype == jnp.uint8:
        return images.astype(jnp.float32) / 255.0
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise TypeError(
            f"to_float32: images are neither bytes nor floats; expected uint8 or a floating dtype. "
            f"Got images of dtype {images.dtype}. Use images.astype('float32') / maximum."
        )
    return images.astype(jnp.float32)


def all_finite(tree: object) -> jax.Array:
    """Whether no leaf holds a NaN or an infinity, as a scalar that can stay on the device.

    Asked with `isfinite().all()`, never with a maximum: the maximum of a row with
    a NaN is a finite number on CPU in jaxlib 0.10.2.

    Example:
        >>> bool(all_finite({"a": jnp.ones(3), "b": jnp.array([1.0, jnp.nan])}))
        False
    """
    finite = [
        jnp.isfinite(leaf).all()
        for leaf in jax.tree.leaves(tree)
        if jnp.issubdtype(leaf.dtype, jnp.inexact)
    ]
    # Stacked, then reduced once: a chain of `and`s is copied into every use of the answer, which
    # makes the training step of resnet(20) compile two to three times slower.
    return jnp.stack(finite).all() if finite else jnp.ones((), bool)
