"""Evaluation that is exact: every example counts once, in a last batch of any size."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxconv._types import Layer, Params, State
from jaxconv.train import metrics
from jaxconv.train.data.order import padded_batches
from jaxconv.train.precision import compute_dtype, to_float32
from jaxconv.train.step import Loss, Prepare, TrainState

EvalStep = Callable[[Params, State, tuple[Any, Any], Any], dict[str, jax.Array]]
Predict = Callable[[Params, State, Any], jax.Array]


def make_predict(
    model: Layer, *, prepare: Prepare = to_float32, precision: str = "float32"
) -> Predict:
    """Builds the pure function from images to float32 logits, in evaluation mode.

    Args:
        model: a `Layer`; its `apply` is called with `train=False`.
        prepare: images as they are stored -> float32.
        precision: "float32" or "bfloat16", the dtype of activations.

    Returns:
        predict(params, state, images) -> logits, float32.
    """
    dtype = compute_dtype("make_predict", precision)

    def predict(params, state, images):
        images = prepare(jnp.asarray(images)).astype(dtype)
        logits, _ = model.apply(params, state, images)
        return logits.astype(jnp.float32)

    return predict


def make_eval_step(
    model: Layer, loss: Loss, *, prepare: Prepare = to_float32, precision: str = "float32"
) -> EvalStep:
    """Builds the pure function that scores one batch, of which a mask says what counts.

    Shapes: images (N, *spatial, C), labels what the loss takes, mask (N,) bool.

    Args:
        model: a `Layer`; its `apply` is called with `train=False`.
        loss: (float32 logits, labels) -> one loss per example.
        prepare: images as they are stored -> float32.
        precision: "float32" or "bfloat16", the dtype of activations.

    Returns:
        eval_step(params, state, (images, labels), mask) -> sums over what the mask keeps: loss,
        and the integers correct and count. What the mask drops changes nothing, a NaN included.

    Raises:
        ValueError: for a precision that is unknown.
    """
    predict = make_predict(model, prepare=prepare, precision=precision)

    def eval_step(params, state, batch, mask):
        images, labels = batch
        logits = predict(params, state, images)
        losses, hits = loss(logits, labels), metrics.correct(logits, labels)
        mask = jnp.asarray(mask).reshape((-1,) + (1,) * (hits.ndim - 1))
        counted = jnp.broadcast_to(mask, hits.shape)
        return {
            "loss": jnp.where(counted, losses, jnp.zeros_like(losses)).sum(),
            "correct": (hits & counted).sum(dtype=jnp.int32),
            "count": counted.sum(dtype=jnp.int32),
        }

    return eval_step


def evaluate(
    eval_step: EvalStep, train_state: TrainState, images: Any, labels: Any, *, batch_size: int
) -> dict[str, Any]:
    """Scores a whole data set, each example once.

    Batches have one size, so one compiled program serves all: the last is filled up with images
    that the mask leaves out. Counts are integers and sums of losses are added in float64.

    Args:
        eval_step: what `make_eval_step` returns, jitted or not.
        train_state: holds the params and the state to score.
        images: (count, *spatial, C).
        labels: (count, ...).
        batch_size: examples at a time.

    Returns:
        The mean loss, the accuracy, and the integers correct and count.

    Raises:
        ValueError: when there are no images, or not one label for each.
    """
    _check_pairs("evaluate", images, labels)
    loss, hits, count = 0.0, 0, 0
    params, state = train_state.params, train_state.state
    for (x, y), mask in _padded((images, labels), batch_size):
        sums = jax.device_get(eval_step(params, state, (x, y), mask))
        loss += float(sums["loss"])
        hits += int(sums["correct"])
        count += int(sums["count"])
    return {"loss": loss / count, "accuracy": hits / count, "correct": hits, "count": count}


def predict_all(
    predict: Predict, train_state: TrainState, images: Any, *, batch_size: int
) -> np.ndarray:
    """The logits of a whole data set, in its order.

    Args:
        predict: what `make_predict` returns, jitted or not.
        train_state: holds the params and the state.
        images: (count, *spatial, C).
        batch_size: images at a time.

    Returns:
        Float32 (count, ...): one row of logits for each image.
    """
    params, state = train_state.params, train_state.state
    rows = [
        np.asarray(predict(params, state, x))[mask] for (x,), mask in _padded((images,), batch_size)
    ]
    return np.concatenate(rows)


def probabilities_under_shifts(predict: Callable[[Any], jax.Array], images: Any) -> np.ndarray:
    """What a classifier says about every circular shift of every image.

        p[s, n, :] = softmax(predict(roll(images[n], s)))

    Args:
        predict: images (N, *spatial, C) -> logits (N, classes); it is compiled once.
        images: (N, *spatial, C).

    Returns:
        Float64 (*spatial, N, classes): at [i, j] for a shift by i rows and j columns.

    Example:
        >>> def brightest_row(x):
        ...     return x.sum((2, 3))
        >>> images = jnp.zeros((1, 3, 2, 1)).at[0, 1].set(9.0)
        >>> probabilities_under_shifts(brightest_row, images)[:, 0, 0].argmax(-1).tolist()
        [1, 2, 0]
    """
    images = jnp.asarray(images)
    spatial = images.shape[1:-1]
    axes = tuple(range(1, images.ndim - 1))

    @jax.jit
    def shifted(shift):
        return predict(jnp.roll(images, shift, axes))

    shifts = itertools.product(*map(range, spatial))
    rows = [np.asarray(shifted(jnp.asarray(shift, jnp.int32))) for shift in shifts]
    logits = np.stack(rows).reshape(*spatial, *rows[0].shape)
    return metrics.softmax(logits)


def _padded(arrays: tuple[Any, ...], batch_size: int) -> Iterator[tuple[tuple[Any, ...], Any]]:
    everything = np.arange(len(arrays[0]))
    for indices, mask in padded_batches(everything, min(batch_size, len(everything))):
        yield tuple(np.asarray(array)[indices] for array in arrays), mask


def _check_pairs(where: str, images: Any, labels: Any) -> None:
    if len(images) != len(labels) or not len(images):
        raise ValueError(
            f"{where}: {len(images)} images and {len(labels)} labels do not pair; expected one "
            f"label for each, and at least one. Got images of shape {np.shape(images)}. "
            f"Pass a set that is not empty, with its own labels."
        )
