"""Names of functions: 128-bit hashes, held as two 64-bit lanes that are mixed independently.

Arrays of names have shape (2, ...): the lanes come first, so that NumPy's inner loops run over
positions. At 10⁷ labels two different functions share a name with probability 10¹⁴ / 2¹²⁸ ≈ 10⁻²⁵.
The finalizer of `mix` is the one of SplitMix64.

References:
    Steele, Lea and Flood 2014, Fast splittable pseudorandom number generators, figure 16.
"""

import functools
import hashlib
from enum import Enum
from typing import Any

import jax
import numpy as np

U = np.uint64
Names = np.ndarray
"""uint64 array of shape (2, ...)."""


class Unmodelled(Exception):
    """A rule cannot describe this equation; the interpreter falls back to an opaque function."""


def mix(x: np.ndarray) -> np.ndarray:
    """Scrambles every 64-bit word; a bijection."""
    y = x ^ (x >> U(30))
    y *= U(0xBF58476D1CE4E5B9)
    y ^= y >> U(27)
    y *= U(0x94D049BB133111EB)
    y ^= y >> U(31)
    return y


def name_of(*parts: Any) -> Names:
    """The name (2,) of a tuple of plain values; their `repr` must tell them apart."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=16).digest()
    return np.frombuffer(digest, U)


def spread(name: Names, ndim: int) -> Names:
    """A name (2,) as (2, 1, ..., 1), to be combined with an array of `ndim` axes of names."""
    return name.reshape((2,) + (1,) * ndim)


@functools.lru_cache(maxsize=64)
def multipliers(count: int) -> Names:
    """Odd multipliers (2, count), one for each operand of an ordered combination."""
    lanes = np.array([[0x9E3779B97F4A7C15], [0xD1B54A32D192ED03]], U)
    return mix(lanes * np.arange(1, count + 1, dtype=U) + lanes[::-1]) | U(1)


def salted(names: Names, salt: Names) -> Names:
    """Names of g(F) for one more function g, which `salt` names."""
    return mix(names * U(0x2545F4914F6CDD1D) + spread(salt, names.ndim - 1))


def hash_rows(words: np.ndarray, salt: Names) -> Names:
    """Names (2, n) of the rows of a uint64 matrix (n, width)."""
    weights = multipliers(words.shape[1])
    sums = [(mix(words + weights[lane, 0]) * weights[lane]).sum(1, dtype=U) for lane in (0, 1)]
    return mix(np.stack(sums) + spread(salt, 1))


def frozen(value: Any) -> str:
    """A parameter of an equation as text that differs when the parameter does.

    Raises:
        Unmodelled: for objects whose `repr` may hide a difference.
    """
    if value is None or isinstance(value, (bool, int, float, complex, str, bytes, type, Enum)):
        return repr(value)
    if isinstance(value, (np.dtype, np.generic)):
        return f"{type(value).__name__}:{value}"
    if isinstance(value, (tuple, list)):
        return f"{type(value).__name__}({', '.join(map(frozen, value))})"
    if isinstance(value, dict):
        return frozen(sorted(value.items()))
    if isinstance(value, (np.ndarray, jax.Array)):
        array = np.asarray(value)
        return f"array({array.dtype}, {array.shape}, {array.tobytes().hex()})"
    raise Unmodelled(f"parameter of type {type(value).__name__}")


def divisors(n: int) -> list[int]:
    """All divisors of n, ascending."""
    return [d for d in range(1, n + 1) if n % d == 0]
