"""Fourier transforms along axes that move: coefficients with phases, and back.

With ω = exp(2πi / M) and out_k = Σ_j in_j ω^{σjk}, σ = -1 forward and 1 backward:

    in_j(T_p x) = in_{j-q}(x)  for all j        =>  out_k(T_p x) = ω^{σqk} out_k(x)
    in_j(T_p x) = ω^{-σqj} in_j(x)  for all j   =>  out_k(T_p x) = out_{k-q}(x)

The first gives out_k the charge -σqkN / (Mp), the second takes charges away. Spectral convolution,
|FFT|, ideal filters and ideal resampling all pass through these two lines.
"""

import math
from typing import NamedTuple

import numpy as np

from jaxconv.equivariance.prove._arrays import ANY, Labels, expanded, plain, uncharged
from jaxconv.equivariance.prove._hash import U, divisors, mix, name_of, salted
from jaxconv.equivariance.prove._labels import absolute, combine, moved, periods_of, shifts_of
from jaxconv.equivariance.prove._operands import charges
from jaxconv.equivariance.prove._table import Call, Context, rule


@rule("fft", charged=True)
def fft(context: Context, call: Call, x: Labels) -> Labels:
    """Discrete Fourier transform of the last axes, one after the other."""
    kind, lengths = call.params["fft_type"].name, call.params["fft_lengths"]
    axes = [x.ndim - len(lengths) + i for i in range(len(lengths))]
    order = list(zip(axes, lengths, strict=True))
    order = order[::-1] if kind == "RFFT" else order
    for axis, length in order:
        half = {"RFFT": "out", "IRFFT": "in"}.get(kind, "") if axis == axes[-1] else ""
        x = _along(context, x, axis, length, 1 if kind.startswith("I") else -1, half)
    return x


class Step(NamedTuple):
    """What a transform does to the shifts along one axis of the group.

    Attributes:
        period: least shift that leaves coefficients alone, up to their phase.
        roll: q of a line that rolls, which becomes coefficients with phases; else 0.
        charge: of every coefficient.
        shift: τ of every coefficient.
        orbit: the coefficient that it is a shift of.
    """

    period: int
    roll: int
    charge: np.ndarray
    shift: np.ndarray
    orbit: np.ndarray


LOST = "lost"
"""The step of an axis whose charges do not go through."""


def _along(context: Context, x: Labels, axis: int, length: int, sign: int, half: str) -> Labels:
    """The transform of one axis of `length` samples; `half` of its spectrum is in x or wanted."""
    count = length // 2 + 1 if half == "out" else length
    shape = (*x.shape[:axis], count, *x.shape[axis + 1 :])
    if x.states[axis] == "B" or x.shape[axis] == 1:
        x = x if half != "in" else uncharged(x)
        out = x.through("fft", axis, x.states, x.shape[axis], length, sign, half)
        return Labels(shape, out.states, out.code, charge=out.charge, sizes=out.sizes)
    x = expanded(x, axis)
    steps = _steps(context, x, axis, length, sign, half)
    x = _uncharged_along(x, [a for a, step in enumerate(steps) if step is LOST])
    line = np.moveaxis(plain(x).code, axis + 1, -1)
    fixed = []
    anchors = np.zeros((x.rank, *line.shape[1:-1]), np.int64)
    for a, step in enumerate(steps):
        if isinstance(step, Step) and step.roll:
            line, turns = _canonical(line, a, step.roll)
            anchors[a] = turns * step.period
            fixed.append(a)
    code = combine(line, name_of("fft", length, sign, half), fixed)
    shifts = (shifts_of(code) + anchors)[..., None] + np.zeros(count, np.int64)
    code = np.repeat(code[..., None], count, -1)
    charge = np.repeat(np.moveaxis(charges(x), axis + 1, -1).max(-1, keepdims=True), count, -1)
    phased = np.lcm.reduce(periods_of(np.moveaxis(x.code, axis + 1, -1)), axis=-1)
    periods, place = np.repeat(phased[..., None], count, -1), np.arange(count)
    for a, step in enumerate(steps):
        if isinstance(step, Step):
            charge[a], periods[a], place = step.charge, step.period, step.orbit
            shifts[a] += step.shift
    names = salted(code[:2], name_of("coefficient"))
    names = mix(names + mix(place.astype(U) * U(7) + U(13)))
    circle = np.array(context.sizes).reshape((-1,) + (1,) * (shifts.ndim - 1))
    out = np.concatenate([names, (shifts % circle).astype(U), periods.astype(U)])
    out = np.moveaxis(out, -1, axis + 1)
    states = (*x.states[:axis], "E", *x.states[axis + 1 :])
    out = Labels(shape, states, out, charge=np.moveaxis(charge, -1, axis + 1), sizes=context.sizes)
    return out if (charge != 0).any() else uncharged(out)


def _canonical(line: np.ndarray, a: int, roll: int) -> tuple[np.ndarray, np.ndarray]:
    """Lines rolled by multiples of `roll` until the least name comes first; by how many.

    Coordinates along other axes of the group do not count: lines there are shifts of each other.
    """
    length = line.shape[-1]
    turns = length // math.gcd(roll, length)
    names = mix(line[0] + mix(line[2 + a] + U(1)))
    heads = names[..., -roll * np.arange(turns) % length]
    times = heads.argmin(-1)
    index = (np.arange(length) - roll * times[..., None]) % length
    return np.take_along_axis(line, index[None], -1), times


def _steps(
    context: Context, x: Labels, axis: int, length: int, sign: int, half: str
) -> list[Step | str | None]:
    line, rows = np.moveaxis(x.code, axis + 1, -1), np.moveaxis(charges(x), axis + 1, -1)
    count = length // 2 + 1 if half == "out" else length
    steps: list[Step | str | None] = []
    for a, size in enumerate(context.sizes):
        top = rows[a].max(-1, keepdims=True)
        uniform = ((rows[a] == top) | (rows[a] == ANY)).all()
        if not uniform and not any(isinstance(step, Step) for step in steps):
            steps.append(_backward(line, rows[a], a, (size, length, sign)))
        elif not uniform:
            steps.append(LOST)
        elif (top > 0).any():
            steps.append(None if half != "in" else LOST)
        elif half != "in":
            steps.append(_forward(line, a, (size, length, sign), count))
        else:
            steps.append(None)
    return steps


def _uncharged_along(x: Labels, lost: list[int]) -> Labels:
    if not lost or x.charge is None:
        return x
    broken = uncharged(x)
    code, charge = x.code.copy(), x.charge.copy()
    for a in lost:
        rows = [2 + a, 2 + x.rank + a]
        code[rows], charge[a] = broken.code[rows], 0
    return Labels(x.shape, x.states, code, charge=charge, sizes=x.sizes)


def _forward(line: np.ndarray, a: int, geometry: tuple[int, int, int], count: int) -> Step | None:
    """Lines that roll by q when x shifts by p: coefficients with phases."""
    size, length, sign = geometry
    before = absolute(line)
    first = before.reshape(2, -1, length)[0, 0]
    for p in divisors(size)[:-1]:
        after = moved(line, a, p)
        starts = np.flatnonzero(first == after.reshape(2, -1, length)[0, 0, 0])
        for q in sorted({int(-start % length) for start in starts} - {0}):
            whole = q * size % (length * p) == 0
            if whole and (after == np.roll(before, q, -1)).all():
                k = np.arange(count)
                charge = -sign * k * (q * size // (length * p)) % size
                return Step(p, q, charge, np.zeros(count, np.int64), k)
    return None


def _backward(line: np.ndarray, rows: np.ndarray, a: int, geometry: tuple[int, int, int]) -> Step:
    """Coefficients whose phases are those of a roll by q when x shifts by p: a line that rolls."""
    size, length, sign = geometry
    rows = np.unique(rows.reshape(-1, rows.shape[-1]), axis=0)
    used = (rows != ANY).any(0)
    least = math.lcm(*np.unique(periods_of(line)[a][..., used]).tolist())
    k = np.arange(rows.shape[-1])
    for p in [p for p in divisors(size) if p % least == 0]:
        turn = p * np.where(rows == ANY, 0, rows) * length
        for q in range(length):
            if (((turn - sign * q * k * size) % (size * length) == 0) | (rows == ANY)).all():
                return _rolling(p, q, size, length)
    raise AssertionError("a shift by all pixels is no shift")


def _rolling(p: int, q: int, size: int, length: int) -> Step:
    """Elements j of which j + q is j after a shift by p."""
    step = math.gcd(q, length)
    turns = length // step
    j = np.arange(length)
    inverse = pow(q // step, -1, turns) if turns > 1 else 0
    times = (j - j % step) // step * inverse % turns
    return Step(math.gcd(turns * p, size), 0, 0 * j, times * p, j % step)
