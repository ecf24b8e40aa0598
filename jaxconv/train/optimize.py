"""What optax leaves to its user: which parameters decay, and a schedule from numbers of epochs."""

from typing import Any

import jax
import optax


def decays(params: Any) -> Any:
    """Marks the parameters that weight decay should shrink: kernels, not biases and scales.

    Decay of a norm's scale or of a bias regularizes nothing: the next norm undoes it.

    Args:
        params: nested dicts of arrays.

    Returns:
        The same structure, True where the leaf is named "kernel"; what optax takes as `mask`.

    Example:
        >>> decays({"conv": {"kernel": 1.0, "bias": 0.0}, "norm": {"scale": 1.0}})
        {'conv': {'bias': False, 'kernel': True}, 'norm': {'scale': False}}
        >>> optimizer = optax.adamw(1e-3, weight_decay=1e-2, mask=decays)
    """
    name = lambda path: jax.tree_util.keystr(path[-1:], simple=True)
    return jax.tree_util.tree_map_with_path(lambda path, leaf: name(path) == "kernel", params)


def warmup_cosine(peak: float, steps: int, *, warmup: float = 0.05) -> optax.Schedule:
    """A learning rate that rises in a line to its peak and falls along a cosine to zero.

    Args:
        peak: the largest learning rate.
        steps: updates in the whole run.
        warmup: the share of them in which it rises; at least one step.

    Returns:
        schedule(step) -> learning rate.

    Example:
        >>> schedule = warmup_cosine(0.1, 100)
        >>> [round(float(schedule(step)), 3) for step in (0, 5, 100)]
        [0.0, 0.1, 0.0]
    """
    rising = max(1, round(warmup * steps))
    curve = optax.warmup_cosine_decay_schedule(0.0, peak, rising, max(steps, rising + 1))

    def schedule(step):
        with jax.numpy_dtype_promotion("standard"):  # optax mixes integers with floats
            return curve(step)

    return schedule
