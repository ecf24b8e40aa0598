"""Actions that do not displace: flips, quarter turns, and changes of intensity."""

import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxconv.equivariance.actions import Action, everywhere


def flip() -> Action:
    """Mirrors the input along every set of moved axes; the output must be mirrored alike.

    Returns:
        An `Action`; its elements say for each moved axis whether it is mirrored.

    Example:
        >>> flip().elements((8, 8)).tolist()
        [[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]
    """

    def elements(sizes):
        return np.array(list(itertools.product((0, 1), repeat=len(sizes)))[1:], float)

    def mirror(x, element, axes):
        for i, axis in enumerate(axes):
            x = jnp.where(element[i] > 0.5, jnp.flip(x, axis), x)
        return x

    def law(y, element, frame, whole):
        del whole
        return mirror(y, element, frame.axes), everywhere(y)

    return Action("flip", elements, mirror, law, displaces=False)


def quarter_turn() -> Action:
    """Turns the input by 90, 180 and 270 degrees in its two moved axes; so must the output turn.

    Returns:
        An `Action`; its elements are numbers of quarter turns.

    Raises:
        ValueError: when measured on other than two moved axes of one size.

    Example:
        >>> quarter_turn().elements((8, 8)).tolist()
        [[1.0], [2.0], [3.0]]
    """

    def elements(sizes):
        if len(sizes) != 2 or sizes[0] != sizes[1]:
            raise ValueError(
                f"quarter_turn: the moved axes have sizes {tuple(sizes)}; expected two of one "
                f"size. Got x with these. Cut a square out of x, or name two axes."
            )
        return np.array([[1.0], [2.0], [3.0]])

    def turn(x, element, axes):
        branches = [lambda x, k=k: jnp.rot90(x, k, axes=tuple(axes)) for k in range(4)]
        return jax.lax.switch(jnp.round(element[0]).astype(int), branches, x)

    def law(y, element, frame, whole):
        del whole
        return turn(y, element, frame.axes), everywhere(y)

    return Action("quarter turn", elements, turn, law, displaces=False)


def intensity(gains: Sequence[float], offsets: Sequence[float]) -> Action:
    """Changes the input to a·x + b; the output must change likewise: f(a·x + b) = a·f(x) + b.

    Args:
        gains: the factors a.
        offsets: the constants b.

    Returns:
        An `Action`, one element per pair (a, b); it changes every input leaf with moved axes.

    Example:
        >>> intensity([2.0], [0.0, 1.0]).elements((8, 8)).tolist()
        [[2.0, 0.0], [2.0, 1.0]]

    References:
        Herbreteau, Moebel and Kervrann 2023, arXiv:2306.05037, definition 1.
    """
    rows = np.array(list(itertools.product(gains, offsets)), float).reshape(-1, 2)

    def change(x, element):
        a, b = element[0].astype(x.dtype), element[1].astype(x.dtype)
        return a * x + b

    def law(y, element, frame, whole):
        del frame, whole
        return change(y, element), everywhere(y)

    def move(x, element, axes):
        del axes
        return change(x, element)

    return Action(
        "change of intensity", lambda sizes: rows, move, law, displaces=False, needs_axes=False
    )


def offset(values: Sequence[float] = (-1.0, 0.5, 3.0)) -> Action:
    """Adds a constant to the input; the output must gain the same: f(x + c) = f(x) + c.

    Args:
        values: the constants c.

    Returns:
        An `Action`; its elements are pairs (1, c).

    Example:
        >>> offset([2.0]).elements((8, 8)).tolist()
        [[1.0, 2.0]]
    """
    return intensity((1.0,), values)._replace(name="offset")


def gain(values: Sequence[float] = (0.1, 2.0, 10.0)) -> Action:
    """Multiplies the input by a constant; so must the output be: f(a·x) = a·f(x).

    Args:
        values: the constants a.

    Returns:
        An `Action`; its elements are pairs (a, 0).

    Example:
        >>> gain([2.0]).elements((8, 8)).tolist()
        [[2.0, 0.0]]
    """
    return intensity(values, (0.0,))._replace(name="gain")
