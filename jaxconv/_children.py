"""What compositions share: names and keys of children, shapes between them, places in errors."""

import contextlib
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxconv._types import HasShape, Layer


def function_name(function: Any) -> str:
    """What a function is called as a layer: its own name, or its class's."""
    if not callable(function):
        raise TypeError(
            f"as_layer: {type(function).__name__} cannot be called; expected a Layer or a "
            f"function x -> y. Got layer={function!r}. Pass jax.nn.relu, say."
        )
    while hasattr(function, "func"):  # functools.partial
        function = function.func
    name = getattr(function, "__name__", type(function).__name__)
    return name.replace("<", "").replace(">", "")


def unique_names(where: str, layers: Sequence[Layer], named: dict[str, Layer]) -> dict[str, Layer]:
    """Children by name, in order: "conv", "conv_1", then the keywords."""
    children: dict[str, Layer] = {}
    for layer in layers:
        child, number = layer.name, 0
        while child in children:
            number += 1
            child = f"{layer.name}_{number}"
        children[child] = layer
    for child, layer in named.items():
        if child in children:
            raise ValueError(
                f"{where}: two layers are called '{child}'; expected one name per layer. "
                f"Got {child}={layer.name}. Use {child}_head={layer.name}, say."
            )
        children[child] = layer
    return children


def fold(key: Any, name: str) -> Any:
    """The key of a child: a function of the parent's key and the child's name only."""
    return None if key is None else jax.random.fold_in(key, np.uint32(zlib.crc32(name.encode())))


def folds(key: jax.Array, count: int) -> jax.Array:
    """One key per copy; those of the first copies do not depend on how many there are."""
    fold_each: Callable[..., jax.Array] = jax.vmap(jax.random.fold_in, in_axes=(None, 0))
    return fold_each(key, jnp.arange(count))


def put(tree: dict[str, Any], name: str, entry: dict[str, Any]) -> None:
    """Enters what a child returned; an empty dict makes no entry."""
    if jax.tree.leaves(entry):
        tree[name] = entry


def output(layer: Layer, params: Any, state: Any, x: HasShape) -> HasShape:
    """Shape and dtype of what a layer returns; nothing is computed."""
    return jax.eval_shape(layer.apply, params, state, x)[0]


def check_names(where: str, children: dict[str, Layer], *trees: dict[str, Any]) -> None:
    """Refuses entries that belong to no child, which are another model's."""
    for tree in trees:
        for name in tree:
            if name not in children:
                raise ValueError(
                    f"{where}: '{name}' has parameters or state but is no layer here; expected "
                    f"names among {list(children)}. Got names {list(tree)}. "
                    f"Pass what init of this model returned."
                )


def run(
    where: str,
    name: str,
    layer: Layer,
    trees: tuple[dict[str, Any], dict[str, Any]],
    x: jax.Array,
    **mode: Any,
) -> tuple[jax.Array, Any]:
    """Applies one child in its scope, with its entries of params and state and its key."""
    params, state = (tree.get(name, {}) for tree in trees)
    key = fold(mode["key"], name)
    with located(where, name, x), jax.named_scope(name):
        return layer.apply(params, state, x, train=mode["train"], key=key)


def combine_outputs(
    where: str, combine: str | Callable[..., jax.Array], outputs: dict[str, jax.Array]
) -> jax.Array:
    """One array of the outputs of all branches; nothing is broadcast or promoted."""
    if callable(combine):
        return combine(*outputs.values())
    cut = None if combine == "sum" else -1
    (first, one), *others = outputs.items()
    for name, other in others:
        if one.shape[:cut] != other.shape[:cut] or one.dtype != other.dtype:
            rule = "equal shapes" if combine == "sum" else "shapes equal up to the channels"
            raise ValueError(
                f"{where}: '{first}' returns {one.dtype} {one.shape} and '{name}' "
                f"{other.dtype} {other.shape}; expected {rule} and dtypes. "
                f"Got {name} of shape {other.shape}. Give both branches the same stride, padding "
                f"and features."
            )
    if combine == "concatenate":
        return jnp.concatenate(list(outputs.values()), axis=-1)
    return sum((y for _, y in others), one)


def check_kept(where: str, x: HasShape, y: HasShape) -> None:
    """A layer that repeats must return what it takes."""
    if x.shape != y.shape or x.dtype != y.dtype:
        raise ValueError(
            f"{where}: the layer turns {x.dtype} {x.shape} into {y.dtype} {y.shape}; expected "
            f"the same shape and dtype. Got y of shape {y.shape}. Use serial for layers that "
            f"change the shape."
        )


@contextlib.contextmanager
def located(where: str, name: str, x: HasShape) -> Iterator[None]:
    """Adds the place to an error that passes through; its type stays."""
    try:
        yield
    except Exception as error:
        shape = tuple(getattr(x, "shape", ()))
        note = f"in {where}, layer '{name}', x of shape {shape}"
        error.add_note(note + (f"; {CHANNELS_FIRST}" if looks_channels_first(shape) else ""))
        raise


CHANNELS_FIRST = "it looks channels-first, use jnp.moveaxis(x, 1, -1)"


def looks_channels_first(shape: Sequence[int]) -> bool:
    """Whether x looks like (N, C, *spatial): a guess, used in errors only.

    1, 3 or 4 entries on axis 1, at least 16 on each later one, and those within a factor of two:
    an image that is 1, 3 or 4 pixels high, as wide as it has channels, is rare.
    """
    if len(shape) < 3 or shape[1] not in (1, 3, 4):
        return False
    return min(shape[2:]) >= 16 and max(shape[2:]) <= 2 * min(shape[2:])
