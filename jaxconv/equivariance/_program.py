"""A function as a compiled program of its arrays: constants become arguments, precision is pinned.

Networks close over their parameters. Compiled as constants they would be folded, copied and
hashed; traced once, they are arguments like any other.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.core import eval_jaxpr

from jaxconv.equivariance import _jaxpr

CONTRACTIONS = ("conv_general_dilated", "dot_general")


class Program(NamedTuple):
    """A traced function.

    Attributes:
        run: (constants, input leaves) -> output leaves.
        constants: arrays that the function closes over.
        leaves: the leaves of x.
        paths: key path of every output leaf, "" for a lone array.
        shapes: shape and dtype of every output leaf.
        tree: structure of the output.
        depth: contractions on the way: each rounds once.
        closed: the jaxpr.
    """

    run: Callable[..., list[jax.Array]]
    constants: list[Any]
    leaves: list[jax.Array]
    paths: list[str]
    shapes: list[jax.ShapeDtypeStruct]
    tree: Any
    depth: int
    closed: Any


def traced(f: Callable[[Any], Any], x: Any, given: Any, precision: str = "highest") -> Program:
    """Traces f on `given`, what f is given untransformed, with matmuls at the pinned precision.

    The leaves that the program keeps are those of x, which is larger where the action crops.
    """
    with jax.default_matmul_precision(precision):
        closed, out = jax.make_jaxpr(f, return_shape=True)(given)
    by_path, tree = jax.tree_util.tree_flatten_with_path(out)

    def run(constants, inputs):
        return eval_jaxpr(closed.jaxpr, constants, *inputs)

    return Program(
        run,
        closed.consts,
        jax.tree.leaves(x),
        [jax.tree_util.keystr(path) for path, _ in by_path],
        [leaf for _, leaf in by_path],
        tree,
        _depth(_jaxpr.flatten(closed)),
        closed,
    )


def _depth(program: _jaxpr.Program) -> int:
    count = 0
    for equation in program.equations:
        inner = max((_depth(body) for body in _jaxpr.bodies(equation)), default=0)
        count += inner * equation.params.get("length", 1)
        count += equation.primitive in CONTRACTIONS
    return count


def chunk_of(chunk: int | None, leaves: list[jax.Array]) -> int:
    """Shifts evaluated at once: so many that a batch holds about 2^18 input numbers.

    Activations of a network are some tens of times its input, so a batch costs some tens of MB.
    """
    if chunk is not None:
        return chunk
    return max(1, 2**18 // max(sum(math.prod(leaf.shape) for leaf in leaves), 1))


def mapped(function: Callable[..., Any], rows: Any, chunk: int) -> Any:
    """`function` of every row, `chunk` rows at once through vmap; one compilation.

    The last chunk is filled up with copies of the first row, so there is no program for the rest.
    """
    count = jax.tree.leaves(rows)[0].shape[0]
    chunk = min(chunk, count)
    chunks = -(-count // chunk)

    def fill(leaf):
        filler = jnp.broadcast_to(leaf[:1], (chunks * chunk - count, *leaf.shape[1:]))
        return jnp.concatenate([leaf, filler]).reshape(chunks, chunk, *leaf.shape[1:])

    out = jax.lax.map(jax.vmap(function), jax.tree.map(fill, rows))
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[:count], out)
