"""Layers made of a function or of other layers, where compositions are one floor above."""

from collections.abc import Callable

import jax

from jaxconv import _children
from jaxconv._types import Layer
from jaxconv.layers import _checks


def stateless(name: str, function: Callable[[jax.Array], jax.Array]) -> Layer:
    """A function x -> y as a layer whose `init` lets the function raise its errors."""

    def init(key, x):
        _checks.fits(function, x)
        return {}, {}

    def apply(params, state, x, *, train=False, key=None):
        return function(x), state

    return Layer(init, apply, name)


def chain(name: str, **children: Layer) -> Layer:
    """Stateless layers one after the other, with the keys, names and notes of `serial`."""

    def init(key, x):
        params = {}
        for child, layer in children.items():
            with _children.located(name, child, x):
                entry, state = layer.init(_children.fold(key, child), x)
                x = _children.output(layer, entry, state, x)
            _children.put(params, child, entry)
        return params, {}

    def apply(params, state, x, *, train=False, key=None):
        for child, layer in children.items():
            x, _ = _children.run(name, child, layer, (params, {}), x, train=train, key=key)
        return x, state

    return Layer(init, apply, name)
