"""Control flow: loops unrolled where that is short, conditions decided where they are constant."""

import numpy as np

from jaxconv.equivariance import _jaxpr
from jaxconv.equivariance.prove._arrays import Known, Labels, Unmodelled, Value
from jaxconv.equivariance.prove._hash import name_of
from jaxconv.equivariance.prove._interpret import CONTROL, Interpreter
from jaxconv.equivariance.prove._moves import reshaped, stacked, take
from jaxconv.equivariance.prove._operands import common_states, lift, zipped

LONGEST_LOOP = 512
MOST_EQUATIONS = 20_000


def _cond(
    interpreter: Interpreter, equation: _jaxpr.Equation, operands: list[Value]
) -> list[Value]:
    """The branch of a constant index, else one function of the index and all branches."""
    index, rest = operands[0], operands[1:]
    branches = _jaxpr.bodies(equation)
    if isinstance(index, Known):
        number = int(np.clip(int(index.array), 0, len(branches) - 1))
        return interpreter.run(branches[number], rest)
    results = [interpreter.run(branch, rest) for branch in branches]
    outputs: list[Value] = []
    for position, slot in enumerate(equation.outputs):
        shape = slot.shape
        values = [index, *[result[position] for result in results]]
        states = common_states(values, shape)
        lifted = [lift(value, shape, states, interpreter.context.rank) for value in values]
        salt = name_of("cond", [labels.states for labels in lifted])
        chosen = zipped(lifted, shape, states, salt)
        outputs.append(interpreter.hand_on(equation, _picked, values, chosen))
    return outputs


def _picked(index: np.ndarray, *cases: np.ndarray) -> np.ndarray:
    return cases[int(np.clip(index, 0, len(cases) - 1))]


def _while(
    interpreter: Interpreter, equation: _jaxpr.Equation, operands: list[Value]
) -> list[Value]:
    """Runs as long as the condition is a constant."""
    params = equation.params
    heads, bodies = params["cond_nconsts"], params["body_nconsts"]
    outer, inner = operands[:heads], operands[heads : heads + bodies]
    carry = operands[heads + bodies :]
    condition, body = _jaxpr.bodies(equation)
    for _ in range(LONGEST_LOOP):
        (going,) = interpreter.run(condition, [*outer, *carry])
        if isinstance(going, Labels):
            raise Unmodelled("loop whose length depends on x")
        if not bool(going.array):
            return carry
        carry = interpreter.run(body, [*inner, *carry])
    raise Unmodelled("long loop")


def _scan(
    interpreter: Interpreter, equation: _jaxpr.Equation, operands: list[Value]
) -> list[Value]:
    """Unrolled."""
    params = equation.params
    length, (body,) = params["length"], _jaxpr.bodies(equation)
    if length > LONGEST_LOOP or length * len(body.equations) > MOST_EQUATIONS or length == 0:
        raise Unmodelled("long loop")
    fixed = params["num_consts"]
    carried = fixed + params["num_carry"]
    consts, carry, rows = operands[:fixed], operands[fixed:carried], operands[carried:]
    order = range(length)[::-1] if params["reverse"] else range(length)
    columns: list[list[Value]] = []
    for step in order:
        inputs = [*consts, *carry, *[_row(interpreter, equation, v, step) for v in rows]]
        results = interpreter.run(body, inputs)
        carry = results[: params["num_carry"]]
        columns.append(results[params["num_carry"] :])
    columns = columns[::-1] if params["reverse"] else columns
    outputs = list(carry)
    for position, slot in enumerate(equation.outputs[params["num_carry"] :]):
        column = [row[position] for row in columns]
        outputs.append(_stack(interpreter, equation, column, slot.shape))
    return outputs


def _row(interpreter: Interpreter, equation: _jaxpr.Equation, value: Value, step: int) -> Value:
    if isinstance(value, Known):
        return Known(value.value[step])
    row = take(value, 0, np.array([step]))
    row = reshaped(row, row.shape[1:])
    return interpreter.hand_on(equation, lambda rows: rows[step], [value], row)


def _stack(
    interpreter: Interpreter,
    equation: _jaxpr.Equation,
    column: list[Value],
    shape: tuple[int, ...],
) -> Value:
    if all(isinstance(value, Known) for value in column):
        return Known(np.stack([value.array for value in column]))  # type: ignore[union-attr]
    made = stacked(column, 0, shape, interpreter.context.rank)
    return interpreter.hand_on(equation, lambda *rows: np.stack(rows), column, made)


CONTROL.update(cond=_cond, scan=_scan)
CONTROL["while"] = _while
