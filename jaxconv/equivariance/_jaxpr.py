"""A jaxpr as one straight list of equations: calls inlined, scopes composed, lines the user's.

`jax.make_jaxpr` returns a tree: `jnp.pad`, `jax.nn.relu`, `jax.checkpoint`, any jitted function
is an equation with a jaxpr inside, whose name stack starts anew and whose variables may be shared
with another call of the same function. An analysis wants neither. Here every call is inlined with
values of its own, scopes are composed from outside in, and an equation inside a library function
points to the line of the user's that called it: a jitted library function is traced once and keeps
the line of its *first* caller, so only the call site can be trusted.
This library's own primitives are replaced by the plain lax operations that they equal.

Loops and branches stay equations; `bodies` opens them.
"""

import functools
import os
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax

from jaxconv.ops._define import ClosedJaxpr, Jaxpr, Literal, plain_form

CALLS = {
    "jit": "jaxpr",
    "pjit": "jaxpr",
    "remat": "jaxpr",
    "remat2": "jaxpr",
    "checkpoint": "jaxpr",
    "closed_call": "call_jaxpr",
    "core_call": "call_jaxpr",
    "named_call": "call_jaxpr",
    "composite": "jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
    "custom_vjp_call_jaxpr": "fun_jaxpr",
    "custom_lin": "call_jaxpr",
}
"""Primitives that do what a jaxpr among their parameters does, and the parameter's name."""

_BODIES = ("jaxpr", "branches", "cond_jaxpr", "body_jaxpr")
"""Parameters of scan, cond and while that hold their bodies, in the order of `bodies`."""

_LIBRARY = tuple(
    os.path.join(directory, "")
    for directory in (
        os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
        os.path.dirname(os.path.abspath(jax.__file__)),
        sysconfig.get_paths()["stdlib"],
    )
)


class Source(NamedTuple):
    """A line of the user's code.

    Attributes:
        file: path of the file.
        line: number of the line, from 1.
        function: the function that the line belongs to.
    """

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        return f"{os.path.basename(self.file)}:{self.line}"


class Value:
    """One array of a program, compared by identity.

    Attributes:
        shape: sizes of all axes.
        dtype: type of the elements.
        constant: the array itself where it is a literal or closed over; else None.
    """

    __slots__ = ("constant", "dtype", "shape")

    def __init__(self, aval: Any, constant: Any = None):
        """A fresh value that looks like `aval`."""
        self.shape: tuple[int, ...] = tuple(getattr(aval, "shape", ()))
        self.dtype: Any = getattr(aval, "dtype", None)
        self.constant = constant


class Equation(NamedTuple):
    """One operation of a program.

    Attributes:
        primitive: name of the operation, as in the jaxpr.
        inputs: values that it reads.
        outputs: values that it makes.
        params: parameters of the primitive.
        bind: computes it: `bind(*arrays)` returns its result, or a list of them.
        scope: names of the enclosing `jax.named_scope`s, outermost first.
        source: the user's line, or None where no frame is the user's.
        programs: those inside: of scan and shard_map (1), while (condition, body), cond (branches).
    """

    primitive: str
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    params: Mapping[str, Any]
    bind: Callable[..., Any]
    scope: tuple[str, ...]
    source: Source | None
    programs: "tuple[Program, ...]" = ()


class Program(NamedTuple):
    """Values and equations in the order of evaluation.

    Attributes:
        inputs: values of the arguments, in the order of their leaves.
        outputs: values of the results, in the order of their leaves; may be inputs or constants.
        equations: operations in the order of evaluation.
    """

    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    equations: tuple[Equation, ...]


def trace(function: Callable[..., Any], *args: Any) -> Program:
    """The program of a function for arguments that look like `args`; nothing is computed.

    Args:
        function: any function of pytrees of arrays.
        *args: arrays or `jax.ShapeDtypeStruct`s, or pytrees of them.

    Returns:
        Its `Program`.

    Example:
        >>> import jax.numpy as jnp
        >>> program = trace(lambda x: jax.nn.relu(x) + 1, jnp.zeros(3))
        >>> [equation.primitive for equation in program.equations]
        ['max', 'add']
    """
    return flatten(jax.make_jaxpr(function)(*args))


def flatten(closed: ClosedJaxpr) -> Program:
    """The program of a closed jaxpr, its calls inlined."""
    return _program(closed, _Place((), None, in_library=False))


def bodies(equation: Equation) -> tuple[Program, ...]:
    """Programs inside an equation, the same ones at every call."""
    return equation.programs


class _Place(NamedTuple):
    """Where a jaxpr is called from, and whether it is the jaxpr of a library function."""

    scope: tuple[str, ...]
    source: Source | None
    in_library: bool


def _program(closed: ClosedJaxpr, place: _Place) -> Program:
    jaxpr = closed.jaxpr
    values = {var: Value(var.aval) for var in jaxpr.invars}
    values |= _constants(jaxpr, closed.consts)
    inputs = tuple(values[var] for var in jaxpr.invars)
    equations = tuple(_equations(jaxpr, values, place))
    return Program(inputs, tuple(_read(values, var) for var in jaxpr.outvars), equations)


def _equations(jaxpr: Jaxpr, values: dict[Any, Value], place: _Place) -> Iterator[Equation]:
    """Yields the equations of a jaxpr; `values` gains an entry for each of its variables."""
    for eqn in jaxpr.eqns:
        inputs = tuple(_read(values, var) for var in eqn.invars)
        scope = place.scope + _scopes(eqn)
        source = place.source if place.in_library else _user_line(eqn) or place.source
        inner = _inside(eqn)
        if inner is None:
            values.update((var, Value(var.aval)) for var in eqn.outvars)
            outputs = tuple(values[var] for var in eqn.outvars)
            bind = functools.partial(eqn.primitive.bind, **eqn.params)
            here = _Place(scope, source, place.in_library)
            name, held = eqn.primitive.name, _held(eqn, here)
            yield Equation(name, inputs, outputs, eqn.params, bind, scope, source, held)
            continue
        body, consts = (
            (inner.jaxpr, inner.consts) if isinstance(inner, ClosedJaxpr) else (inner, ())
        )
        local = dict(zip(body.invars, inputs, strict=True)) | _constants(body, consts)
        yield from _equations(body, local, _Place(scope, source, _is_library(body)))
        results = (_read(local, var) for var in body.outvars)
        values.update(zip(eqn.outvars, results, strict=True))


def _held(eqn: Any, place: _Place) -> tuple[Program, ...]:
    """Programs of the bodies of a loop or a branch, which are traced anew where they are used."""
    found: list[Program] = []
    if eqn.primitive.name == "shard_map":
        return (_program(ClosedJaxpr(eqn.params["jaxpr"], ()), place),)
    for name in _BODIES if eqn.primitive.name in ("scan", "while", "cond") else ():
        held = eqn.params.get(name, ())
        held = held if isinstance(held, (tuple, list)) else (held,)
        found += [_program(closed, place) for closed in held if isinstance(closed, ClosedJaxpr)]
    return tuple(found)


def _inside(eqn: Any) -> Any:
    """The jaxpr that an equation calls, or the plain form of a primitive of ours; else None."""
    plain = plain_form(eqn.primitive)
    if plain is None:
        return eqn.params.get(CALLS.get(eqn.primitive.name, ""))
    like = [jax.ShapeDtypeStruct(var.aval.shape, var.aval.dtype) for var in eqn.invars]
    return jax.make_jaxpr(functools.partial(plain, **eqn.params))(*like)


def _read(values: Mapping[Any, Value], var: Any) -> Value:
    return Value(var.aval, var.val) if isinstance(var, Literal) else values[var]


def _constants(jaxpr: Jaxpr, consts: Any) -> dict[Any, Value]:
    pairs = zip(jaxpr.constvars, consts, strict=True)
    return {var: Value(var.aval, constant) for var, constant in pairs}


def _scopes(eqn: Any) -> tuple[str, ...]:
    """Named scopes of an equation; marks of transformations, as vmap's, are left out."""
    stack = eqn.source_info.name_stack.stack
    return tuple(entry.name for entry in stack if type(entry).__name__ == "Scope")


def _user_line(eqn: Any) -> Source | None:
    traceback = eqn.source_info.traceback
    for frame in traceback.frames if traceback else ():
        if not _is_machinery(frame.file_name):
            return Source(frame.file_name, frame.line_num, frame.function_name)
    return None


def _is_library(jaxpr: Jaxpr) -> bool:
    """Whether a jaxpr is that of a library function: `jnp.pad`, say."""
    return _is_machinery(getattr(jaxpr.debug_info, "func_filename", None) or "")


def _is_machinery(file: str) -> bool:
    """Whether code is JAX's, this library's, Python's or an installed package's."""
    return "site-packages" in file or file.startswith(("<frozen", *_LIBRARY))
