"""What the layers of a traced program return and cost, by the scopes that compositions open."""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from jaxconv.equivariance._jaxpr import Equation, Program, Value, bodies

Path = tuple[str, ...]
"""Names of scopes, outermost first; the path of a layer's entry in params."""


class Use(NamedTuple):
    """One equation that depends on the image: where it stands and how often it runs.

    Attributes:
        path: its scopes.
        equation: the equation.
        times: how often the loops around it run it.
        program: the program that it belongs to, a loop's body or the whole.
    """

    path: Path
    equation: Equation
    times: int
    program: Program


def uses(program: Program, position: int, depth: int | None = None) -> list[Use]:
    """The equations that depend on input number `position`, those inside loops included.

    Scopes deeper than `depth` count as the scope around them.
    """
    found = _uses(program, {program.inputs[position]}, 1)
    return [use._replace(path=use.path[:depth]) for use in found]


def _uses(program: Program, seen: set[Value], times: int) -> Iterator[Use]:
    """Yields in program order; `seen` gains the values that depend on the image."""
    for equation in program.equations:
        if seen.isdisjoint(equation.inputs):
            continue
        seen.update(equation.outputs)
        yield Use(equation.scope, equation, times, program)
        turns = times * equation.params.get("length", 1)
        for body in bodies(equation):
            yield from _uses(body, _reached(equation, body, seen), turns)


def _reached(equation: Equation, body: Program, seen: set[Value]) -> set[Value]:
    """Inputs of a body that depend on the image: its operands' tail, and a scan's whole carry."""
    operands = equation.inputs[len(equation.inputs) - len(body.inputs) :]
    if equation.primitive == "while":  # the constants of one body stand before those of the other
        return set(body.inputs)
    reached = {inner for inner, value in zip(body.inputs, operands, strict=True) if value in seen}
    if equation.primitive == "scan":
        fixed = equation.params["num_consts"]
        reached.update(body.inputs[fixed : fixed + equation.params["num_carry"]])
    return reached


def layer_outputs(found: list[Use], result: Value) -> dict[Path, Value]:
    """The value that each scope makes and others read, in the order of the program.

    Where a scope makes several, the last that an equation outside reads; else the result of the
    model; else the last one that it makes. A scope that holds a loop and nothing else is left
    out: the scopes inside the loop stand for it.
    """
    outputs: dict[Path, Value] = {}
    for program in {id(use.program): use.program for use in found}.values():
        inside = [use for use in found if use.program is program]
        readers: dict[Value, list[Path]] = {}
        for use in inside:
            for value in use.equation.inputs:
                readers.setdefault(value, []).append(use.path)
        for value in (result, *program.outputs[:1]):
            readers.setdefault(value, []).append(())
        for path in dict.fromkeys(use.path for use in inside):
            made = [v for use in inside if _within(use.path, path) for v in use.equation.outputs]
            read = [v for v in made if any(not _within(r, path) for r in readers.get(v, ()))]
            outputs.setdefault(path, (read or made)[-1])
    own = {use.path for use in found if not bodies(use.equation)}
    order = dict.fromkeys(use.path for use in found)
    return {
        path: outputs[path]
        for path in order
        if path in own or not any(_within(other, path) for other in own)
    }


def _within(path: Path, scope: Path) -> bool:
    return path[: len(scope)] == scope


def multiply_adds(equation: Equation) -> int:
    """Multiply-adds of a convolution or a matrix product; 0 for any other operation.

    Taps on padding count, as is the custom; the zeros between the pixels of a transposed
    convolution do not.
    """
    params, output = equation.params, equation.outputs[0].shape
    if equation.primitive == "dot_general":
        (contracted, _), _ = params["dimension_numbers"]
        return math.prod(output) * math.prod(equation.inputs[0].shape[a] for a in contracted)
    if equation.primitive == "conv_general_dilated":
        image, kernel = (value.shape for value in equation.inputs)
        numbers = params["dimension_numbers"]
        taps = math.prod(kernel) // kernel[numbers.rhs_spec[0]]
        if math.prod(params["lhs_dilation"]) > 1:
            pixels = math.prod(image[axis] for axis in numbers.lhs_spec[2:])
            return image[numbers.lhs_spec[0]] * pixels * taps * output[numbers.out_spec[1]]
        return math.prod(output) * taps
    return 0


def count_by_layer(params: Any, prefix: Path = ()) -> dict[Path, int]:
    """Numbers in each dict of params that holds arrays itself, by path."""
    counts: dict[Path, int] = {}
    for name, entry in params.items():
        if isinstance(entry, dict):
            counts |= count_by_layer(entry, (*prefix, name))
        else:
            counts[prefix] = counts.get(prefix, 0) + math.prod(entry.shape)
    return counts
