"""The contract that every layer keeps: two pure functions and a name.

A layer is a pair of functions over plain dicts, the shape that optax gave to gradient
transformations and stax to layers, with a state channel beside the parameters:

    params, state = layer.init(key, x)
    y, state = layer.apply(params, state, x, train=False, key=None)

- `x` is always (N, *spatial, C): one batch axis first, channels last, any number of spatial axes
  between them. `init` reads `x.shape` and `x.dtype` only, so an array, a `jax.ShapeDtypeStruct`
  or a tracer will do.
- `params` and `state` are nested dicts of arrays keyed by layer name. `params` is what an
  optimizer changes, `state` is what `apply` changes (running statistics). A layer that has
  neither returns an empty dict and has no entry in its parent's.
- Every layer has the same signature; a stateless one returns the state that it was given. `key`
  is needed only by layers that draw random numbers, and only when `train` is true.
- Parameters are float32 (float64 for a float64 input); `apply` computes in `x.dtype`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax

Params = dict[str, Any]
"""Nested dict of arrays, keyed by layer name, that an optimizer changes."""

State = dict[str, Any]
"""Nested dict of arrays, keyed by layer name, that `apply` returns changed."""


class HasShape(Protocol):
    """Anything with a shape and a dtype: an array, a tracer, a `jax.ShapeDtypeStruct`."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of all axes."""
        ...

    @property
    def dtype(self) -> Any:
        """Type of the elements."""
        ...


class Init(Protocol):
    """Makes parameters and state for inputs that look like `x`."""

    def __call__(self, key: jax.Array, x: HasShape) -> tuple[Params, State]:
        """Returns `(params, state)`; reads nothing of `x` but its shape and dtype."""
        ...


class Apply(Protocol):
    """Maps an input to an output; a pure function."""

    def __call__(
        self,
        params: Params,
        state: State,
        x: jax.Array,
        *,
        train: bool = False,
        key: jax.Array | None = None,
    ) -> tuple[jax.Array, State]:
        """Returns `(y, state)`; changes none of its arguments."""
        ...


class Layer(NamedTuple):
    """A pair of pure functions and the name that the pair has inside a composition.

    Example:
        >>> import jax, jax.numpy as jnp, jaxconv as jc
        >>> double = jc.Layer(
        ...     init=lambda key, x: ({}, {}),
        ...     apply=lambda params, state, x, *, train=False, key=None: (2 * x, state),
        ...     name="double",
        ... )
        >>> params, state = double.init(jax.random.key(0), jnp.ones((1, 4, 4, 3)))
        >>> y, state = double.apply(params, state, jnp.ones((1, 4, 4, 3)))
        >>> float(y.max())
        2.0
    """

    init: Init
    apply: Apply
    name: str


LayerLike = Layer | Callable[[jax.Array], jax.Array]
"""A layer, or any function x -> y, which is a layer wherever a layer is expected."""

IntOrInts = int | tuple[int, ...] | list[int]
"""One integer for all spatial axes, or one per spatial axis."""

Padding = str | int | tuple[Any, ...] | list[Any]
"""A padding amount: "same", "half", "valid", "causal", "full", an int, or pairs (low, high)."""

PaddingMode = str | tuple[str, ...] | list[str]
"""What padding holds: "zeros", "circular", "reflect" or "edge", for all axes or one per axis."""
