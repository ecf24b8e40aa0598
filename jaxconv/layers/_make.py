"""Layers made of a function or of other layers, where compositions are one floor above."""

import contextlib
from collections.abc import Callable, Iterator

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


def speaking_as(where: str, parts: tuple[str, ...], build: Callable[[], Layer]) -> Layer:
    """A layer that is built of others, whose errors name the function that the user called.

    Messages begin with the function that raises them (`_parse`); those that begin with one of the
    parts begin with `where` instead, at construction, in `init` and in `apply`.
    """
    with _renamed(where, parts):
        layer = build()

    def init(key, x):
        with _renamed(where, parts):
            return layer.init(key, x)

    def apply(params, state, x, *, train=False, key=None):
        with _renamed(where, parts):
            return layer.apply(params, state, x, train=train, key=key)

    return Layer(init, apply, layer.name)


@contextlib.contextmanager
def _renamed(where: str, parts: tuple[str, ...]) -> Iterator[None]:
    try:
        yield
    except (TypeError, ValueError) as error:
        part, _, rest = str(error).partition(": ")
        if part in parts:
            error.args = (f"{where}: {rest}",)
        raise
