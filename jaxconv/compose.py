"""Compositions: layers made of layers, still a pair of pure functions and a name.

Parameters and state are dicts keyed by child name; a child that has none has no entry, so one
`relu` more changes no checkpoint. The key of a child is `fold_in(key, crc32(name))`, in `init` and
in `apply`: initial values depend on a layer's path and shape only, not on its neighbors. Every
child runs inside `jax.named_scope(name)`, so jaxprs, profiles, summaries and proofs name layers by
the same path as `params`. Errors keep their type and gain a note that says where.
"""

from collections.abc import Callable
from typing import Any

import jax

from jaxconv import _children, _parse
from jaxconv._types import Layer, LayerLike


def as_layer(function: LayerLike) -> Layer:
    """Makes a layer without parameters of any function x -> y; a layer is returned as it is.

    Args:
        function: a `Layer`, or a pure function of one array.

    Returns:
        A stateless `Layer` named after the function.

    Raises:
        TypeError: for what cannot be called.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> as_layer(jax.nn.relu).name
        'relu'
    """
    if isinstance(function, Layer):
        return function
    name = _children.function_name(function)

    def apply(params, state, x, *, train=False, key=None):
        del params, train, key
        y = function(x)
        if isinstance(y, Layer):
            raise TypeError(
                f"{name}: makes a layer, and is none; expected a Layer or a function x -> y. "
                f"Got {name} itself. Call it: {name}()."
            )
        return y, state

    return Layer(lambda key, x: ({}, {}), apply, name)


def _named(where: str, layers: tuple[LayerLike, ...], named: dict[str, LayerLike]):
    keywords = {child: as_layer(layer) for child, layer in named.items()}
    return _children.unique_names(where, [as_layer(layer) for layer in layers], keywords)


def serial(*layers: LayerLike, name: str = "serial", **named: LayerLike) -> Layer:
    """Applies layers one after the other.

        y = layer_n(... layer_2(layer_1(x)))

    Shapes: those of the chain. Params, state: one entry per child that has any, under the child's
    name: "conv", then "conv_1" for the second of that name, or the keyword.

    Args:
        *layers: layers or functions x -> y, first to last.
        name: what the composition is called inside another one.
        **named: more of them, after the positional ones, under names of your choice.

    Returns:
        A `Layer`.

    Raises:
        ValueError: for a name given twice, or for params of another model.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> double, shift = (lambda x: 2 * x), (lambda x: x + 1)
        >>> model = serial(double, shift=shift)
        >>> params, state = model.init(jax.random.key(0), jnp.ones((1, 4, 3)))
        >>> y, state = model.apply(params, state, jnp.ones((1, 4, 3)))
        >>> float(y.max())
        3.0
    """
    children = _named(name, layers, named)

    def init(key, x):
        params, state = {}, {}
        last = list(children)[-1:]
        for child, layer in children.items():
            with _children.located(name, child, x):
                p, s = layer.init(_children.fold(key, child), x)
                if [child] != last:  # nobody needs the shape that the last one returns
                    x = _children.output(layer, p, s, x)
            _children.put(params, child, p)
            _children.put(state, child, s)
        return params, state

    def apply(params, state, x, *, train=False, key=None):
        _children.check_names(name, children, params, state)
        new = {}
        for child, layer in children.items():
            x, s = _children.run(name, child, layer, (params, state), x, train=train, key=key)
            _children.put(new, child, s)
        return x, new

    return Layer(init, apply, name)


def parallel(
    *layers: LayerLike,
    combine: str | Callable[..., jax.Array] = "sum",
    name: str = "parallel",
    **named: LayerLike,
) -> Layer:
    """Applies layers to the same input and combines what they return.

        y = combine(layer_1(x), ..., layer_n(x))

    Shapes: "sum" needs equal outputs; "concatenate" joins the channels of outputs that are equal
    elsewhere. Params, state: one entry per child that has any.

    Args:
        *layers: layers or functions x -> y.
        combine: "sum", "concatenate" (on the channel axis), or a function of all the outputs.
        name: what the composition is called inside another one.
        **named: more layers, under names of your choice.

    Returns:
        A `Layer`.

    Raises:
        ValueError: for a name given twice, or outputs that do not fit together.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> layer = parallel(jax.nn.relu, jnp.abs, combine="concatenate")
        >>> y, _ = layer.apply({}, {}, -jnp.ones((1, 4, 3)))
        >>> y.shape
        (1, 4, 6)
    """
    children = _named(name, layers, named)
    if not callable(combine):
        _parse.choice(name, "combine", combine, ("sum", "concatenate"))
    if not children:
        raise ValueError(
            f"{name}: has no layers; expected at least one. Got layers=(). Use serial() for the "
            f"identity."
        )

    def init(key, x):
        params, state = {}, {}
        for child, layer in children.items():
            with _children.located(name, child, x):
                p, s = layer.init(_children.fold(key, child), x)
            _children.put(params, child, p)
            _children.put(state, child, s)
        return params, state

    def apply(params, state, x, *, train=False, key=None):
        _children.check_names(name, children, params, state)
        outputs, new = {}, {}
        for child, layer in children.items():
            outputs[child], s = _children.run(
                name, child, layer, (params, state), x, train=train, key=key
            )
            _children.put(new, child, s)
        return _children.combine_outputs(name, combine, outputs), new

    return Layer(init, apply, name)


def residual(
    body: LayerLike, shortcut: LayerLike = lambda x: x, *, name: str = "residual"
) -> Layer:
    """Adds what a layer computes to its input, or to a shortcut of it.

        y = body(x) + shortcut(x)

    Shapes: body and shortcut return the same. Params, state: {"body", "shortcut"}, those of the
    two that have any.

    Args:
        body: layer or function.
        shortcut: layer or function; the identity unless given.
        name: what the composition is called inside another one.

    Returns:
        A `Layer`.

    Raises:
        ValueError: when the two outputs differ in shape; nothing is broadcast.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> y, _ = residual(lambda x: 2 * x).apply({}, {}, jnp.ones((1, 4, 3)))
        >>> float(y.max())
        3.0

    References:
        He, Zhang, Ren and Sun 2015, arXiv:1512.03385, equations 1 and 2.
    """
    return parallel(body=body, shortcut=shortcut, combine="sum", name=name)


def repeat(count: int, layer: LayerLike, *, name: str = "repeat") -> Layer:
    """Applies `count` copies of a layer, each with parameters of its own, in one compiled loop.

        x_{i+1} = layer(params_i, x_i), i = 0 .. count - 1

    The loop is `jax.lax.scan` over stacked parameters, so compile time does not grow with count.

    Shapes: the layer must keep the shape and dtype of its input.
    Params, state: those of the layer, each leaf with a new first axis of size `count`. Copy i
    draws from `fold_in(key, i)`.

    Args:
        count: how many copies.
        layer: layer or function that keeps the shape of its input.
        name: what the composition is called inside another one.

    Returns:
        A `Layer`.

    Raises:
        ValueError: in `init` and `apply`, when the layer changes shape or dtype.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> y, _ = repeat(3, lambda x: 2 * x).apply({}, {}, jnp.ones((1, 4, 3)))
        >>> float(y.max())
        8.0
    """
    _parse.integer(name, "count", count)
    one = as_layer(layer)

    def init(key, x):
        with _children.located(name, one.name, x):
            init_each: Callable[..., Any] = jax.vmap(lambda k: one.init(k, x))
            params, state = init_each(_children.folds(key, count))
            p, s = jax.eval_shape(lambda: jax.tree.map(lambda leaf: leaf[0], (params, state)))
            _children.check_kept(name, x, _children.output(one, p, s, x))
        return params, state

    def apply(params, state, x, *, train=False, key=None):
        def step(x, copy):
            p, s, k = copy
            with _children.located(name, one.name, x):
                y, s = one.apply(p, s, x, train=train, key=k)
                _children.check_kept(name, x, y)
            return y, s

        keys = None if key is None else _children.folds(key, count)
        return jax.lax.scan(step, x, (params, state, keys), length=count)

    return Layer(init, apply, name)


def remat(layer: LayerLike, *, policy: Callable[..., Any] | None = None) -> Layer:
    """Computes a layer's inner activations again in the backward pass instead of keeping them.

    Values and gradients are those of the layer; memory falls to the layer's input and output,
    and the backward pass costs one more forward pass. Shapes, params, state: the layer's.

    Args:
        layer: layer or function.
        policy: what to keep all the same, one of `jax.checkpoint_policies`.

    Returns:
        A `Layer` of the same name.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> remat(jnp.sin).apply({}, {}, jnp.zeros((1, 4, 3)))[0].shape
        (1, 4, 3)

    References:
        Chen, Xu, Zhang and Guestrin 2016, arXiv:1604.06174.
    """
    inner = as_layer(layer)

    def apply(params, state, x, *, train=False, key=None):
        def function(params, state, x, key):
            return inner.apply(params, state, x, train=train, key=key)

        return jax.checkpoint(function, policy=policy)(params, state, x, key)

    return Layer(inner.init, apply, inner.name)
