"""What is counted about predictions: exact integers first, shares of them last."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def correct(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Which predictions hit: the largest logit stands at the label.

    Shapes: logits (*batch, classes), labels (*batch,) integers or (*batch, classes) weights, of
    which the largest is the label -> (*batch,) bool. A logit that is not finite never hits.

    Example:
        >>> correct(jnp.array([[2.0, 1.0], [2.0, 1.0]]), jnp.array([0, 1])).tolist()
        [True, False]
    """
    classes = jnp.argmax(logits, axis=-1)
    if labels.ndim == logits.ndim:
        labels = jnp.argmax(labels, axis=-1)
    return (classes == labels.astype(classes.dtype)) & jnp.isfinite(logits).all(axis=-1)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities of the last axis, computed in float64 so that each row sums to one.

    Example:
        >>> softmax(np.array([0.0, 0.0])).tolist()
        [0.5, 0.5]
    """
    logits = np.asarray(logits, np.float64)
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def confusion_matrix(labels: Any, predictions: Any, classes: int) -> np.ndarray:
    """Counts pairs: entry [i, j] is how often class i was called class j.

    Args:
        labels: integers (count,) in 0..classes - 1.
        predictions: the same.
        classes: how many there are.

    Returns:
        Integers (classes, classes); rows are truths and sum to the class sizes.

    Raises:
        ValueError: when the two differ in shape or hold a class that does not exist.

    Example:
        >>> confusion_matrix([0, 0, 1], [0, 1, 1], 2).tolist()
        [[1, 1], [0, 1]]
    """
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    if labels.shape != predictions.shape or labels.ndim != 1:
        raise ValueError(
            f"confusion_matrix: labels and predictions do not pair; expected two vectors of one "
            f"length. Got labels of shape {labels.shape} and predictions of shape "
            f"{predictions.shape}. Pass logits.argmax(-1) as predictions."
        )
    for name, array in (("labels", labels), ("predictions", predictions)):
        if array.size and not 0 <= array.min() <= array.max() < classes:
            raise ValueError(
                f"confusion_matrix: {name} reach from {array.min()} to {array.max()}; expected "
                f"0..{classes - 1}. Got classes={classes}. Use classes={array.max() + 1}."
            )
    counts = np.bincount(labels * classes + predictions, minlength=classes * classes)
    return counts.reshape(classes, classes)


def surviving_share(probabilities: np.ndarray) -> float:
    """The share of images whose predicted class is the same under every shift.

    Args:
        probabilities: (*shifts, N, classes), as `probabilities_under_shifts` returns them.

    Returns:
        A number in 0..1.

    Example:
        >>> steady, moved = [[0.9, 0.1], [0.8, 0.2]], [[0.9, 0.1], [0.3, 0.7]]
        >>> surviving_share(np.array([steady, moved]).transpose(1, 0, 2))
        0.5
    """
    classes = np.asarray(probabilities).argmax(axis=-1)
    classes = classes.reshape(-1, classes.shape[-1])
    return float((classes == classes[:1]).all(axis=0).mean())
