"""Dropping out: elements or channels of the input, or a whole branch of a network."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxconv import _parse
from jaxconv._types import Layer
from jaxconv.layers import _checks


def dropout(
    drop_probability: float, *, whole_channels: bool = False, name: str = "dropout"
) -> Layer:
    """Sets values to zero at random while training, and scales up those that stay.

        y = x · mask / (1 - p),  mask = 0 with probability p, else 1

    so that the mean of y is x. With train=False, y = x.

    Shapes: x (N, *spatial, C) -> y (N, *spatial, C).
    Params: {}. State: {}.
    Equivariance: with train=False or whole_channels=True, exact on every shift; otherwise in
    distribution only, since the mask does not move with x.

    Args:
        drop_probability: p, in [0, 1).
        whole_channels: whether a draw decides about a channel of an example with all its pixels,
            since neighboring pixels tell much the same.
        name: what the layer is called inside a composition.

    Returns:
        A stateless `Layer` that needs `key` when it trains.

    Raises:
        ValueError: at construction for an impossible probability; in `apply` for train=True
            without a key.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> layer, key = dropout(0.5), jax.random.key(0)
        >>> y, _ = layer.apply({}, {}, jnp.ones((1, 1000)), train=True, key=key)
        >>> sorted(set(y.ravel().tolist()))
        [0.0, 2.0]

    References:
        Srivastava et al. 2014, JMLR 15, section 4. Tompson et al. 2014, arXiv:1411.4280, section
        3.2 (whole channels).
    """

    def drawn(shape):
        return (shape[0], *(1,) * (len(shape) - 2), shape[-1]) if whole_channels else shape

    return _dropping("dropout", name, drop_probability, drawn)


def drop_path(drop_probability: float, *, name: str = "drop_path") -> Layer:
    """Sets whole examples to zero at random while training: put it last in a residual branch.

        y[n] = x[n] · mask[n] / (1 - p),  mask[n] = 0 with probability p, else 1

    so that an example skips the branch with probability p. With train=False, y = x.

    Shapes: x (N, *spatial, C) -> y (N, *spatial, C).
    Params: {}. State: {}.
    Equivariance: exact on every shift: all pixels of an example meet the same fate.

    Args:
        drop_probability: p, in [0, 1).
        name: what the layer is called inside a composition.

    Returns:
        A stateless `Layer` that needs `key` when it trains.

    Raises:
        ValueError: at construction for an impossible probability; in `apply` for train=True
            without a key.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> layer, key = drop_path(0.5), jax.random.key(0)
        >>> y, _ = layer.apply({}, {}, jnp.ones((100, 2, 2, 3)), train=True, key=key)
        >>> sorted(set(y.sum((1, 2, 3)).tolist()))
        [0.0, 24.0]

    References:
        Huang, Sun, Liu, Sedra and Weinberger 2016, arXiv:1603.09382, section 3.
    """

    def drawn(shape):
        return (shape[0], *(1,) * (len(shape) - 1))

    return _dropping("drop_path", name, drop_probability, drawn)


def _dropping(
    where: str,
    name: str,
    drop_probability: float,
    drawn: Callable[[tuple[int, ...]], tuple[int, ...]],
) -> Layer:
    """Multiplies by a mask of shape `drawn(x.shape)`."""
    _parse.probability(where, "drop_probability", drop_probability)

    def init(key, x):
        _checks.floating_image(where, x)
        return {}, {}

    def apply(params, state, x, *, train=False, key=None):
        _checks.floating_image(where, x)
        if not train or drop_probability == 0:
            return x, state
        if key is None:
            raise ValueError(
                f"{where}: has no key to draw the mask from; expected one when train=True. "
                f"Got key=None. Call apply(..., train=True, key=jax.random.key(0)), with a new "
                f"key every step."
            )
        keep = jax.random.bernoulli(key, 1 - drop_probability, drawn(x.shape))
        return jnp.where(keep, x / (1 - drop_probability), jnp.zeros_like(x)), state

    return Layer(init, apply, name)
