"""What is analyzed: a traced function, its shifted inputs and its weights."""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from jaxconv.equivariance import _jaxpr
from jaxconv.equivariance.prove import _control as _control
from jaxconv.equivariance.prove import _shards as _shards
from jaxconv.equivariance.prove._arrays import Known, Labels, Value
from jaxconv.equivariance.prove._extremes import with_extremes
from jaxconv.equivariance.prove._hash import U, name_of
from jaxconv.equivariance.prove._interpret import Interpreter
from jaxconv.equivariance.prove._labels import constant_code
from jaxconv.equivariance.prove._laws import Law, coarsened, laws_of
from jaxconv.equivariance.prove._table import Context

WEIGHTS = ("generic", "actual")
STEERS = {"eq", "select_n", "gather", "dynamic_slice", "dynamic_update_slice", "scatter"}
"""Operations through which a choice steers what comes after it."""


@dataclass(frozen=True)
class Program:
    """A function of weights and inputs as a jaxpr, and which input axes shift.

    Attributes:
        program: the trace; its operands are the weights, then the inputs.
        weights: leaves of `params`, arrays or shapes.
        inputs: leaves of x.
        axes: shifted axes of every input.
        sizes: N of each shifted axis; a smaller input shifts by N_leaf / N of the shift.
        finest: least shift, per axis, that moves every input by whole pixels.
        paths: name of every output leaf.
        generic: whether weights are arbitrary, or the values given.
    """

    function: Callable[..., Any]
    params: Any
    x: Any
    program: _jaxpr.Program
    weights: tuple[Any, ...]
    inputs: tuple[Any, ...]
    axes: tuple[int, ...]
    sizes: tuple[int, ...]
    finest: tuple[int, ...]
    paths: tuple[str, ...]
    generic: bool

    @functools.cached_property
    def steered(self) -> bool:
        """Whether an argmax chooses what is read: by an index, a comparison, or a `where`."""
        return _steered(self.program)

    def operands(self) -> list[Value]:
        """Labels of the weights and of the inputs."""
        rank = len(self.sizes)
        weights: list[Value] = [
            _generic(leaf, number, rank) if self.generic else Known(leaf)
            for number, leaf in enumerate(self.weights)
        ]
        inputs = [
            _input(tuple(leaf.shape), self.axes, self.sizes, name_of("input", number))
            for number, leaf in enumerate(self.inputs)
        ]
        return [*weights, *inputs]

    def laws(self, value: Value) -> tuple[Law, ...]:
        """Laws of an output, on shifts that move every input by whole pixels."""
        found = laws_of(value, self.sizes)
        return tuple(coarsened(law, p) for law, p in zip(found, self.finest, strict=True))

    def run(self, context: Context, observe: Callable | None = None) -> "Run":
        """Labels of the outputs."""
        interpreter = Interpreter(context, observe)
        operands = self.operands()
        return Run(operands, interpreter.run(self.program, operands), interpreter)


@dataclass
class Run:
    """Operands and outputs of one abstract run, and the interpreter with what it noted."""

    operands: list[Value]
    outputs: list[Value]
    interpreter: Interpreter


def trace(
    where: str, f: Callable[..., Any], x: Any, axes: Sequence[int], params: Any, weights: str
) -> Program:
    """Traces f(x), or f(params, x) when params are given."""
    inputs, _ = jax.tree.flatten(x)
    inputs = [leaf if hasattr(leaf, "shape") else np.asarray(leaf) for leaf in inputs]
    if not inputs:
        raise ValueError(f"{where}: x has no leaves; expected an array. Got x={x!r}. Pass one.")
    axes = _checked_axes(where, axes, inputs)
    sizes = tuple(max(leaf.shape[axis] for leaf in inputs) for axis in axes)
    finest = tuple(_finest(where, axis, n, inputs) for axis, n in zip(axes, sizes, strict=True))
    call = (lambda p, x: f(x)) if params is None else f
    jaxpr, out = jax.make_jaxpr(call, return_shape=True)(params, x)
    leaves = jax.tree_util.tree_leaves_with_path(out)
    paths = tuple(jax.tree_util.keystr(path) for path, _ in leaves)
    if weights not in WEIGHTS:
        raise ValueError(
            f'{where}: weights is unknown; expected "generic" or "actual". '
            f'Got weights={weights!r}. Use weights="generic".'
        )
    flat = tuple(jax.tree.leaves(params))
    if weights == "actual" and any(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in flat):
        raise ValueError(
            f"{where}: params holds shapes, not values; expected arrays with weights='actual'. "
            f'Got weights={weights!r}. Use weights="generic".'
        )
    return Program(
        f,
        params,
        x,
        with_extremes(_jaxpr.flatten(jaxpr)),
        flat,
        tuple(inputs),
        axes,
        sizes,
        finest,
        paths,
        weights == "generic",
    )


def _steered(program: _jaxpr.Program) -> bool:
    marked: set[int] = set()
    for equation in program.equations:
        read = any(id(value) in marked for value in equation.inputs)
        if read and equation.primitive in STEERS:
            return True
        if read or equation.primitive in ("argmax", "argmin"):
            marked.update(map(id, equation.outputs))
    return any(_steered(body) for equation in program.equations for body in equation.programs)


def pads(program: _jaxpr.Program) -> bool:
    """Whether circular borders could change anything: some equation pads, inside of loops too."""
    return any(map(padded, program.equations))


def padded(equation: _jaxpr.Equation) -> bool:
    """Whether an equation pads, or one inside of it."""
    return _pads(equation.params) or any(map(pads, _jaxpr.bodies(equation)))


def _pads(params: Mapping[str, Any]) -> bool:
    amounts = (*params.get("padding", ()), *params.get("padding_config", ()))
    return any(low > 0 or high > 0 for low, high, *_ in amounts)


def _checked_axes(where: str, axes: Sequence[int], inputs: list[Any]) -> tuple[int, ...]:
    axes = (axes,) if isinstance(axes, int) else tuple(axes)
    for leaf in inputs:
        rank = len(leaf.shape)
        bad = [axis for axis in axes if not -rank <= axis < rank]
        if bad or len({axis % rank for axis in axes}) != len(axes) or not axes:
            raise ValueError(
                f"{where}: x has {rank} axes; expected distinct axes in [{-rank}, {rank}). "
                f"Got axes={axes} for x of shape {tuple(leaf.shape)}. Use axes=(1,), say."
            )
    if all(axis >= 0 for axis in axes) or len({len(leaf.shape) for leaf in inputs}) > 1:
        return axes
    return tuple(axis % len(inputs[0].shape) for axis in axes)


def _finest(where: str, axis: int, size: int, inputs: list[Any]) -> int:
    sizes = [leaf.shape[axis] for leaf in inputs]
    bad = [n for n in sizes if n == 0 or size % n]
    if bad:
        raise ValueError(
            f"{where}: inputs have sizes {sizes} along axis {axis}; expected divisors of the "
            f"largest. Got {bad[0]} beside {size}. Resize or crop an input."
        )
    return math.lcm(*[size // n for n in sizes])


def _generic(leaf: Any, number: int, rank: int) -> Labels:
    """A weight that may take any value: one unknown constant, projected on demand."""
    shape = tuple(np.shape(leaf))
    name = name_of("weight", number).reshape((2,) + (1,) * len(shape))
    return Labels(shape, ("B",) * len(shape), constant_code(name, rank))


def _input(
    shape: tuple[int, ...], axes: tuple[int, ...], sizes: tuple[int, ...], name: np.ndarray
) -> Labels:
    """Element i of an input is its first element, seen after a shift by -i."""
    axes = tuple(axis % len(shape) for axis in axes)
    states = ["E" if axis in axes else "B" for axis in range(len(shape))]
    place = [n if s == "E" else 1 for n, s in zip(shape, states, strict=True)]
    code = np.zeros((2 + 2 * len(axes), *place), U)
    code[:2] = name.reshape((2,) + (1,) * len(shape))
    for row, (axis, size) in enumerate(zip(axes, sizes, strict=True)):
        step = size // shape[axis]
        index = np.arange(shape[axis], dtype=U) * U(step)
        code[2 + row] = index.reshape([-1 if d == axis else 1 for d in range(len(shape))])
        code[2 + len(axes) + row] = size
    return Labels(shape, tuple(states), code)
