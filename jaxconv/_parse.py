"""User input to canonical tuples, once, with the argument's name in the error.

Messages follow one template: `{where}: {fact}; expected {rule}. Got {argument}={value}. {fix}`.
"""

import operator
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp

from jaxconv import geometry
from jaxconv._types import HasShape, IntOrInts, Padding, PaddingMode

AMOUNTS = ("same", "half", "valid", "causal", "full")
MODES = ("zeros", "circular", "reflect", "edge")
Pair = tuple[int, int]


def integer(where: str, name: str, value: Any, *, minimum: int | None = 1) -> int:
    """An integer of at least `minimum`; a bool or a float is refused, never rounded."""
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise TypeError(
            f"{where}: {name} is of type {type(value).__name__}; expected an int. "
            f"Got {name}={value!r}. Pass a whole number."
        ) from None
    if minimum is not None and number < minimum:
        raise ValueError(
            f"{where}: {name} is too small; expected at least {minimum}. "
            f"Got {name}={value}. Use {name}={minimum} or more."
        )
    return number


def probability(where: str, name: str, value: float) -> float:
    """A number in [0, 1)."""
    if not 0 <= value < 1:
        raise ValueError(
            f"{where}: {name} is no probability below 1; expected 0 <= {name} < 1. "
            f"Got {name}={value}. Use {name}=0.1, say."
        )
    return float(value)


def choice(where: str, name: str, value: Any, choices: Sequence[str]) -> str:
    """One of a few words."""
    if value not in choices:
        words = ", ".join(f'"{word}"' for word in choices)
        raise ValueError(
            f"{where}: {name} is unknown; expected one of {words}. "
            f"Got {name}={value!r}. Use {name}={choices[0]!r}, say."
        )
    return value


def ints(where: str, name: str, value: IntOrInts, *, minimum: int = 1) -> IntOrInts:
    """Checks every entry before the number of spatial axes is known (at construction)."""
    if isinstance(value, (tuple, list)):
        return tuple(integer(where, name, entry, minimum=minimum) for entry in value)
    return integer(where, name, value, minimum=minimum)


def per_axis(
    where: str, name: str, value: IntOrInts, rank: int, *, minimum: int = 1
) -> tuple[int, ...]:
    """One integer per spatial axis, from one for all of them or from a sequence."""
    checked = ints(where, name, value, minimum=minimum)
    if isinstance(checked, int):
        return (checked,) * rank
    if len(checked) != rank:
        raise ValueError(
            f"{where}: {name} has {len(checked)} entries for {rank} spatial axes; expected one "
            f"per spatial axis or a single int. Got {name}={value}. "
            f"Use {name}={checked[0] if checked else minimum} for all axes."
        )
    return tuple(checked)


def image(where: str, x: HasShape, *, minimum_rank: int = 1, name: str = "x") -> tuple[int, ...]:
    """Spatial sizes of x (N, *spatial, C) with at least `minimum_rank` spatial axes."""
    if len(x.shape) < minimum_rank + 2:
        raise ValueError(
            f"{where}: {name} has {len(x.shape)} axes; expected (N, *spatial, C) with at least "
            f"{minimum_rank} spatial. Got {name} of shape {tuple(x.shape)}. "
            f"Add a batch axis with {name}[None] or a channel axis with {name}[..., None]."
        )
    return tuple(x.shape[1:-1])


def floating(where: str, name: str, x: HasShape) -> None:
    """Refuses integers and bools, which have no gradients and overflow in sums."""
    if not jnp.issubdtype(x.dtype, jnp.inexact):
        raise TypeError(
            f"{where}: {name} holds integers; expected a floating dtype. "
            f"Got {name} of dtype {x.dtype}. Use {name}.astype('float32')."
        )


def same_dtype(where: str, x: HasShape, name: str, other: HasShape, *, first: str = "x") -> None:
    """Refuses to promote silently; x is called `first` in the message."""
    if x.dtype != other.dtype:
        raise TypeError(
            f"{where}: {first} is {x.dtype} and {name} is {other.dtype}; expected one dtype. "
            f"Got {name} of dtype {other.dtype}. Use {name}.astype({first}.dtype)."
        )


def _is_int(value: Any) -> bool:
    return hasattr(value, "__index__") and not isinstance(value, bool)


def padding_amount(
    where: str,
    padding: Padding,
    spatial: Sequence[int],
    window: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
) -> tuple[Pair, ...]:
    """Padding (low, high) of every spatial axis from any form of the padding grammar."""
    rank = len(spatial)
    if isinstance(padding, str):
        name = choice(where, "padding", padding, AMOUNTS)
        axes = zip(spatial, window, stride, dilation, strict=True)
        return tuple(geometry.named_padding(name, *axis) for axis in axes)
    if _is_int(padding):
        amount = integer(where, "padding", padding, minimum=None)
        return ((amount, amount),) * rank
    check_padding(where, padding)
    entries = tuple(padding)  # type: ignore[arg-type]
    if len(entries) != rank:
        raise ValueError(
            f"{where}: padding has {len(entries)} entries for {rank} spatial axes; expected one "
            f"pair (low, high) per spatial axis. Got padding={padding}. "
            f"Use padding={((1, 1),) * rank}, say."
        )
    return tuple((operator.index(low), operator.index(high)) for low, high in entries)


def check_padding(where: str, padding: Padding) -> None:
    """Checks the form of a padding before the number of spatial axes is known."""
    if isinstance(padding, str):
        choice(where, "padding", padding, AMOUNTS)
        return
    if _is_int(padding):
        return
    pairs = isinstance(padding, (tuple, list)) and all(
        isinstance(pair, (tuple, list)) and len(pair) == 2 and all(map(_is_int, pair))
        for pair in padding
    )
    if not pairs:
        raise ValueError(
            f"{where}: padding is not understood; expected one of {', '.join(AMOUNTS)}, an int, "
            f"or one pair (low, high) per spatial axis. Got padding={padding!r}. "
            f'Use padding="same" or padding=((1, 1), (1, 1)), say.'
        )


def padding_modes(where: str, mode: PaddingMode, rank: int) -> tuple[str, ...]:
    """One padding mode per spatial axis, from one for all of them or from a sequence."""
    if isinstance(mode, str):
        return (choice(where, "padding_mode", mode, MODES),) * rank
    if len(mode) != rank:
        raise ValueError(
            f"{where}: padding_mode has {len(mode)} entries for {rank} spatial axes; expected one "
            f"per spatial axis or a single word. Got padding_mode={mode}. "
            f'Use padding_mode="zeros" for all axes.'
        )
    return tuple(choice(where, "padding_mode", entry, MODES) for entry in mode)


def check_modes(where: str, mode: PaddingMode) -> None:
    """Checks the words of a padding mode before the number of spatial axes is known."""
    for word in (mode,) if isinstance(mode, str) else mode:
        choice(where, "padding_mode", word, MODES)
