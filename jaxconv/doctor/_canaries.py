"""The known wrong results of XLA on CPUs, as data: what fails, what is at stake, what cures it."""

from typing import NamedTuple

FLAG = "--xla_cpu_experimental_ynn_fusion_type=-reduce"
"""Turns off the fused reductions of jaxlib 0.10.2; its faster convolutions stay on."""

_FAST = "f = jaxconv.fast(f)    # f holds the convolutions; then differentiate it"
_EXPORT = f'export XLA_FLAGS="$XLA_FLAGS {FLAG}"'


class Canary(NamedTuple):
    """One thing that a backend has been seen to get wrong.

    Its two programs, of plain JAX and of this library, are in `_programs.py` under its name.

    Attributes:
        name: the key of its verdicts.
        title: what is computed, at most 40 characters.
        stake: what a wrong verdict means for the user's numbers.
        cure: the line that cures it, to be copied.
        flag: the part of the cure that goes into XLA_FLAGS; empty where no flag cures it.
    """

    name: str
    title: str
    stake: str
    cure: str
    flag: str = ""


CANARIES = (
    Canary(
        "rows",
        "vmapped sum of matrix-vector products",
        "The last rows of a long batch are silently wrong: 1 of 32,769 here, 128 of 32,896.",
        _EXPORT,
        FLAG,
    ),
    Canary(
        "nan",
        "NaN in a maximum or a max pool",
        "A diverged network looks healthy: jnp.max, x.max(axis) and lax.reduce_window return "
        "finite numbers although a NaN is among their values, and jax_debug_nans stays silent.",
        _EXPORT,
        FLAG,
    ),
    Canary(
        "rank_7",
        "sum of a product with seven axes",
        "The process dies (segmentation fault) in a reduction of arrays with seven or more axes; "
        "what was not saved is lost.",
        _EXPORT,
        FLAG,
    ),
    Canary(
        "negative_padding",
        "convolution with a negative low padding",
        "lax.conv_general_dilated reads uninitialized memory where the low padding of an axis is "
        "negative and its high one is not: other numbers in every run, up to 1e36.",
        _FAST,
    ),
    Canary(
        "padding_gradient",
        "gradient of an over-padded convolution",
        "The gradient in the input of such a convolution (window 2, padding (3, 0)) is a "
        "convolution with a negative low padding: the same uninitialized memory.",
        _FAST,
    ),
    Canary(
        "gradients",
        "gradients of a strided convolution",
        "Gradients of strided, dilated and over-padded convolutions in input and kernel: what a "
        "network learns from.",
        _FAST,
    ),
    Canary(
        "dilated_gradient",
        "input gradient, strides and dilation",
        "The process dies while it compiles the gradient in the input of a convolution with both "
        "a stride and a dilation on one axis; what was not saved is lost.",
        _FAST,
    ),
    Canary(
        "ties",
        "gradient of a max pool among equal values",
        "The gradient of a window goes to its first maximum, as in PyTorch; flat regions of "
        "real images are full of ties.",
        "y = jaxconv.ops.max_pool(x, window)    # in place of lax.reduce_window",
    ),
    Canary(
        "options",
        "all of it under jaxconv.compiler_options",
        "`jaxconv.train.fit` compiles with these options: what an option can break is run again "
        "under each.",
        "fit(..., compiler_options={})    # compile with the defaults",
    ),
)
"""Ordered so that what may end the process of the canaries comes after the cheap ones."""
