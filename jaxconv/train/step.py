"""One step of training, as a pure function built from a model, a loss and an optimizer."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxconv._types import HasShape, Layer, Params, State
from jaxconv.train import metrics
from jaxconv.train.precision import all_finite, compute_dtype, to_float32

Loss = Callable[[jax.Array, jax.Array], jax.Array]
"""(logits, labels) -> one loss per example, as optax writes its losses."""

Prepare = Callable[[jax.Array], jax.Array]
"""Images as they are stored -> float32 images, of the same shape."""


class Batch(NamedTuple):
    """Images with their labels, and which samples of which epoch they are.

    `indices` (N,) and `epoch` decide the randomness of augmentation, so that it does not depend on
    the batch that a sample is in. Left out, the places in the batch and the number of the step
    stand for them.
    """

    images: Any
    labels: Any
    indices: Any = None
    epoch: Any = None


Augment = Callable[[jax.Array, Batch], Batch]
"""(key, batch) -> batch, of the same shapes."""


class TrainState(NamedTuple):
    """All that a step of training changes.

    `params` is what the optimizer changes, `state` what the model does (running statistics),
    `opt_state` the optimizer's memory, `step` the number of updates made.
    """

    params: Params
    state: State
    opt_state: Any
    step: jax.Array


TrainStep = Callable[[TrainState, Any, jax.Array], tuple[TrainState, dict[str, jax.Array]]]


def init_train_state(
    model: Layer, optimizer: optax.GradientTransformation, key: jax.Array, images: HasShape
) -> TrainState:
    """Makes the state that training begins with.

    Args:
        model: a `Layer`.
        optimizer: any optax gradient transformation.
        key: decides the initial parameters.
        images: a batch, or anything with its shape; parameters are float32 whatever its dtype.

    Returns:
        A `TrainState` at step 0.

    Example:
        >>> double = Layer(
        ...     lambda key, x: ({"scale": jnp.ones(x.shape[-1])}, {}),
        ...     lambda params, state, x, **mode: (x * params["scale"][None], state),
        ...     "scale",
        ... )
        >>> start = init_train_state(double, optax.sgd(0.1), jax.random.key(0), jnp.ones((1, 4, 3)))
        >>> int(start.step), start.params["scale"].shape
        (0, (3,))
    """
    params, state = model.init(key, jax.ShapeDtypeStruct(tuple(images.shape), jnp.float32))
    return TrainState(params, state, optimizer.init(params), jnp.zeros((), jnp.int32))


def make_train_step(
    model: Layer,
    loss: Loss,
    optimizer: optax.GradientTransformation,
    *,
    prepare: Prepare = to_float32,
    augment: Augment | None = None,
    precision: str = "float32",
) -> TrainStep:
    """Builds the pure function that makes one update.

        θ' = θ + optimizer(∇ mean loss(model(augment(prepare(images))), labels))

    With precision="bfloat16" the model computes in bfloat16 on float32 parameters; the loss and the
    update stay in float32. A step whose loss, gradients or new model state are not finite changes
    nothing and says so in `metrics["finite"]`: the state that it returns is the one that it was
    given, and the batch reproduces the failure.

    Shapes: images (N, *spatial, C) uint8 or floating, labels what the loss takes.

    Args:
        model: a `Layer`; its `apply` is called with `train=True` and a key.
        loss: (float32 logits, labels) -> one loss per example, such as
            `optax.softmax_cross_entropy_with_integer_labels`.
        optimizer: any optax gradient transformation, its schedule included.
        prepare: images as they are stored -> float32; by default bytes are divided by 255.
        augment: (key, batch with float32 images) -> batch, run inside the step. Its key is the
            same in every step; what changes is in `batch.epoch` and `batch.indices`, which is what
            `train.data.augment` takes.
        precision: "float32" or "bfloat16", the dtype of activations.

    Returns:
        step(train_state, batch, key) -> (train_state, metrics), with a `Batch` or a plain pair
        (images, labels). The key is that of the run: the step folds its own number in. It is pure:
        jit it, with `donate_argnums=0` when the old state is not needed again. Metrics are the
        scalars loss (mean), correct and count (integers), gradient_norm, finite.

    Raises:
        ValueError: for a precision that is unknown.

    Example:
        >>> scale = Layer(
        ...     lambda key, x: ({"scale": jnp.ones(x.shape[-1])}, {}),
        ...     lambda params, state, x, **mode: (x * params["scale"][None], state),
        ...     "scale",
        ... )
        >>> step = make_train_step(
        ...     scale, optax.softmax_cross_entropy_with_integer_labels, optax.sgd(1.0)
        ... )
        >>> batch = jnp.eye(2, dtype=jnp.float32), jnp.array([0, 1])
        >>> now = init_train_state(scale, optax.sgd(1.0), jax.random.key(0), batch[0])
        >>> now, metrics = jax.jit(step)(now, batch, jax.random.key(1))
        >>> int(now.step), int(metrics["correct"]), bool(metrics["finite"])
        (1, 2, True)
    """
    dtype = compute_dtype("make_train_step", precision)

    def objective(params, state, batch, key):
        images = batch.images.astype(dtype)
        logits, state = model.apply(params, state, images, train=True, key=key)
        logits = logits.astype(jnp.float32)
        return loss(logits, batch.labels).mean(), (state, logits)

    def step(train_state, batch, key):
        params, state, opt_state, number = train_state
        batch = _complete(Batch(*batch), number)
        batch = batch._replace(images=prepare(batch.images))
        if augment is not None:
            batch = augment(jax.random.fold_in(key, 0), batch)
        model_key = jax.random.fold_in(jax.random.fold_in(key, 1), number)
        gradient = jax.value_and_grad(objective, has_aux=True)
        (value, (state, logits)), gradients = gradient(params, state, batch, model_key)
        finite = all_finite((value, gradients, state))
        with jax.numpy_dtype_promotion(
            "standard"
        ):  # optax mixes the count, an integer, with floats
            updates, opt_state = optimizer.update(gradients, opt_state, params)
        params: Any = optax.apply_updates(params, updates)
        new = TrainState(params, state, opt_state, number + 1)
        hits = metrics.correct(logits, batch.labels)
        return jax.tree.map(lambda a, b: jnp.where(finite, a, b), new, train_state), {
            "loss": value,
            "correct": hits.sum(dtype=jnp.int32),
            "count": jnp.full((), hits.size, jnp.int32),
            "gradient_norm": optax.tree.norm(gradients),
            "finite": finite,
        }

    return step


def _complete(batch: Batch, step: jax.Array) -> Batch:
    images, labels = jnp.asarray(batch.images), jnp.asarray(batch.labels)
    places = jnp.arange(len(images), dtype=jnp.int32)
    indices = places if batch.indices is None else jnp.asarray(batch.indices)
    return Batch(images, labels, indices, step if batch.epoch is None else batch.epoch)
